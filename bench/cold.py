"""The cost of the cold tier: the speed of rolling hours, the size of a span hot and cold, and the time of queries over a year's manifest.

    python -m bench.cold [--spans 400000] [--series 200]

Spans are those of bench.search (eleven attributes and five of the resource), written by the engine, of a day on four shards; all but the
last hour is rolled, and the manifest then gets 8,760 hours on each shard. Metrics are a day of rollups, copied 365 times with shifted
times, and a query of one metric of them; none with ``--series 0``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.search_data import END_S, LIMITS, ROWS_AT_ONCE, TENANT, spans_sql
from services.query.promql.engine import EngineOptions, PromqlEngine, Query
from tael.cluster.manifests import cold_key
from tael.cold.files import DAY_HOURS, ColdFile, day_of, hour_of
from tael.cold.manifest import Head, Manifest
from tael.cold.pages import encode_index, encode_page
from tael.model.series import Matcher, Selection
from tael.model.time import DAY_NS, HOUR_NS, NS_PER_MS, NS_PER_SECOND, TimeRange
from tael.storage.clickhouse.series import query_builder
from tael.vectors.values import Steps, Vector
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer, object_settings
from tests.support.series import StoredSeries
from tests.support.storage import START_NS, HotTier, open_tier, span_query

SHARDS, HOURS, YEAR_HOURS, ROUNDS = 4, 24, 8_760, 25
FIRST = hour_of(START_NS)
LAST = (END_S - 3_600) * NS_PER_SECOND
"""The hour of spans that stays hot."""


async def store_spans(tier: HotTier, count: int) -> None:
    """Store spans of HOURS hours up to END_S, ten per trace, on all shards."""
    for shard, clickhouse in enumerate(tier.clickhouses):
        for first in range(0, count, ROWS_AT_ONCE):
            sql = spans_sql(clickhouse.database, first, min(ROWS_AT_ONCE, count - first), count, HOURS, shard, SHARDS)
            await clickhouse.command(sql, limits=LIMITS)


async def some_traces(tier: HotTier, hour: int) -> list[bytes]:
    """Trace ids of an hour, from all shards in turn."""
    chosen = f"_partition_id = '{hour // NS_PER_SECOND}' LIMIT 1 BY trace_id LIMIT {ROUNDS}"
    rows = [await one.query(f"SELECT trace_id FROM {one.database}.spans WHERE {chosen}", {}) for one in tier.clickhouses]
    return [bytes(trace_id) for several in zip(*rows, strict=False) for (trace_id,) in several]


async def hot_bytes(tier: HotTier) -> int:
    """The size of the spans on the hot tier's disks."""
    sql = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'spans' AND database = {database:String}"
    return sum([int((await one.query(sql, {"database": one.database}))[0][0]) for one in tier.clickhouses])


async def p50_ms(ask: Callable[[int], Awaitable[object]], rounds: int = ROUNDS) -> float:
    """The median time of a query, a function of the round's number."""
    took = []
    for number in range(rounds):
        started = time.perf_counter()
        await ask(number)
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


async def make_up(tier: HotTier, shard: int, files: Iterable[ColdFile]) -> None:
    """Add these files to a shard's manifest."""
    assert tier.cold is not None
    before = await tier.cold.manifests.read(shard)
    pages = {day: list(own) for day, own in before.pages.items()}
    for file in files:
        pages.setdefault((file.table, day_of(file.hour_ns)), []).append(file)
    index = {day: f"_manifest/{shard}/pages/made-up-{day[0]}-{day[1]}" for day in pages}
    for day, own in pages.items():
        tier.cold.objects.kept[index[day]] = encode_page(own)
    key = f"_manifest/{shard}/index/made-up-{before.revision}"
    tier.cold.objects.kept[key] = encode_index(index)
    bounds = {table: [file for (name, _), own in pages.items() if name == table for file in own] for table, _ in pages}
    cold = {table: (min(one.hour_ns for one in own), max(one.end_ns for one in own) - HOUR_NS) for table, own in bounds.items()}
    head = Head(shard, before.revision + 1, before.head.epoch, key, cold=cold)
    kept = tier.cold.kv.kept[cold_key(shard)]
    await tier.cold.kv.update(cold_key(shard), head.encode(), kept.revision)


async def of_traces(tier: HotTier, hot: Sequence[bytes], cold: Sequence[bytes]) -> None:
    """Read traces by their ids."""

    async def get(traces: Sequence[bytes], number: int) -> object:
        return await tier.reader.get_trace(TENANT, traces[number % len(traces)])

    for name, traces in (("hot", hot), ("cold", cold)):
        await get(traces, 0)
        before = time.process_time()
        median = await p50_ms(partial(get, traces))
        print(f"trace by id, {name}: p50 {median:.1f} ms, {(time.process_time() - before) * 1000 / ROUNDS:.1f} ms of the reader's CPU")


async def of_spans(tier: HotTier, count: int) -> None:
    """Roll, measure sizes, and read by id, hot and cold, under a year's manifest."""
    assert tier.cold is not None
    tier.rolls = False
    started = time.perf_counter()
    await store_spans(tier, count)
    print(f"wrote {count} spans in {time.perf_counter() - started:.0f} s")
    for clickhouse in tier.clickhouses:
        await clickhouse.command(f"OPTIMIZE TABLE {clickhouse.database}.spans FINAL", limits=LIMITS)
    weight = await hot_bytes(tier) / count
    hot, cold = await some_traces(tier, LAST), await some_traces(tier, LAST - HOUR_NS)
    started = time.perf_counter()
    await tier.cold.roll(LAST)
    took = time.perf_counter() - started
    files = [file for shard in range(SHARDS) for file in (await tier.cold.manifests.read(shard)).files("spans")]
    rows = sum(file.rows for file in files)
    print(
        f"rolled {rows} spans in {took:.1f} s: {rows / took:,.0f} rows/s; {weight:.1f} bytes a span hot, {sum(file.bytes for file in files) / rows:.1f} cold"
    )
    await of_traces(tier, hot, cold)
    for shard in range(SHARDS):
        model = (await tier.cold.manifests.read(shard)).files("spans")[-1]
        hours = (LAST - number * HOUR_NS for number in range(HOURS, YEAR_HOURS))
        await make_up(tier, shard, [replace(model, hour_ns=at, min_time_ns=at, max_time_ns=at + HOUR_NS - 1) for at in hours])
    print(f"over a manifest of {YEAR_HOURS} hours on each of {SHARDS} shards:")

    await of_traces(tier, hot, cold)
    cold_hour = TimeRange(LAST - HOUR_NS, LAST)
    day = TimeRange(LAST - (HOURS - 1) * HOUR_NS, LAST)
    questions: dict[str, Callable[[int], Awaitable[object]]] = {
        "services of a cold hour (an aggregate)": lambda _: tier.reader.list_services(TENANT, cold_hour),
        "newest 100 spans of a service in a day of cold hours": lambda _: tier.reader.find_spans(
            TENANT, span_query(day, service="service-1")
        ),
        "100 failed spans of an operation in a day of cold hours": lambda _: tier.reader.find_spans(
            TENANT, span_query(day, service="service-1", status_code=2, attributes=[("http.route", "/api/v1/thing-3/{id}")])
        ),
        "a search of a day of cold hours that finds nothing": lambda _: tier.reader.find_spans(TENANT, span_query(day, text="nowhere")),
    }
    for name, ask in questions.items():
        print(f"{name}: p50 {await p50_ms(ask, 5):.0f} ms")


async def of_a_year(tier: HotTier, series: int) -> None:
    """Roll up a day, copy it 365 times, and query a panel over a year."""
    assert tier.cold is not None
    tier.rolls = False
    store, day = StoredSeries(tier), day_of(FIRST)
    for number in range(series):
        labels = {"__name__": f"metric_{number % 20}_total", "instance": f"10.0.0.{number}:9100", "job": f"job-{number % 5}"}
        times = range(day // NS_PER_MS, (day + DAY_NS) // NS_PER_MS, 60_000)
        store.add(labels, [(at, float(at - times[0])) for at in times])
    await store.flush()
    await tier.cold.roll()
    started = time.perf_counter()
    count = await tier.cold.roll_up()
    rolled_up = time.perf_counter()
    gathered = await tier.cold.gather()
    print(
        f"{count} hours rolled up in {rolled_up - started:.1f} s, gathered into {gathered} files of a day in {time.perf_counter() - rolled_up:.1f} s"
    )
    manifest = await tier.cold.manifests.read(0)
    models = [file for table in ("samples", "series") for file in manifest.files(table)]
    assert [file.hours for file in models] == [DAY_HOURS] * 2
    started = time.perf_counter()
    made = [await copy(tier, file, days) for days in range(1, 365) for file in models]
    print(f"made {len(made)} files more in {time.perf_counter() - started:.0f} s")
    await make_up(tier, 0, made)
    await ask_a_year(tier, day)


async def copy(tier: HotTier, file: ColdFile, days: int) -> ColdFile:
    """A copy of the file, dated the given number of days earlier."""
    assert tier.cold is not None
    move = days * DAY_NS
    made = replace(file, hour_ns=file.hour_ns - move, min_time_ns=file.min_time_ns - move, max_time_ns=file.max_time_ns - move)
    columns = ("ts", "first_ts", "last_ts") if file.table == "samples" else ("hour",)
    moved = ", ".join(f"{name} - toIntervalDay({days}) AS {name}" for name in columns)
    url = tier.cold.bucket_url
    await tier.clickhouses[0].command(
        f"INSERT INTO FUNCTION s3('{url}{made.key}', 'Parquet') SELECT * REPLACE({moved}) FROM s3('{url}{file.key}', 'Parquet') SETTINGS use_hive_partitioning = 0"
    )
    return made


async def ask_a_year(tier: HotTier, day: int) -> None:
    """The cost of planning, and of a panel, for the first time and again."""
    assert tier.cold is not None
    end_ms = (day + DAY_NS) // NS_PER_MS
    text, year_ms = "sum by (job) (rate(metric_3_total[1d]))", 365 * DAY_NS // NS_PER_MS
    query = Query(text, Steps(end_ms - year_ms + DAY_NS // NS_PER_MS, end_ms, DAY_NS // NS_PER_MS))
    engine = PromqlEngine(StoredSeries(tier).reader, EngineOptions())
    for name in ("first", "again", "again"):
        started = time.perf_counter()
        outcome = await engine.run("t1", query, engine.parse(text))
        value = outcome.evaluated.value
        assert isinstance(value, Vector)
        print(f"a panel of a year, {value.present.sum()} values, {name}: {(time.perf_counter() - started) * 1000:.0f} ms")
    started = time.perf_counter()
    manifest = await tier.cold.manifests.read(0)
    source = await tier.cold.tiers[0].source(Manifest(manifest.head, manifest.index, manifest.pages), ())
    matchers = (Matcher("__name__", "=", "metric_3_total"),)
    statement = query_builder.select_samples(source, "t1", Selection(matchers, end_ms - year_ms, end_ms), 1_000_000)
    print(
        f"planned in {(time.perf_counter() - started) * 1000:.0f} ms: a statement of {len(statement.sql):,} characters, {len(source.trail.opened)} files"
    )


@asynccontextmanager
async def shards(folder: Path, count: int) -> AsyncIterator[HotTier]:
    """The given number of shards in one hot node, and a bucket."""
    with HotNode(folder / f"node-{count}", environment=object_settings()) as node:
        async with open_tier([node] * count, tiering="cold", deadline_seconds=300) as tier:
            yield tier


async def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=400_000)
    parser.add_argument("--series", type=int, default=200)
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a run that is cut short has said what it found
    with tempfile.TemporaryDirectory() as folder:
        server = ObjectServer(Path(folder) / "s3")
        server.start()
        try:
            async with shards(Path(folder), SHARDS) as tier:
                await of_spans(tier, options.spans)
            if options.series:
                async with shards(Path(folder), 1) as tier:
                    await of_a_year(tier, options.series)
        finally:
            server.stop()


if __name__ == "__main__":
    asyncio.run(main())
