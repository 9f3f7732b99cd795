"""What the cold tier costs: how fast hours are rolled, what a span takes hot and cold, and what questions cost over a year's manifest.

    python -m bench.cold [--spans 400000] [--series 200]

Spans are of three hours, two of them rolled, and a few of the day before; the manifest then gets 8,760 hours on each of four shards. Metrics are a
day of rollups, which is there 365 times with its times moved, and a question about one metric of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from services.query.promql.engine import EngineOptions, PromqlEngine, Query
from tael.cluster.manifests import cold_key
from tael.cold.files import DAY_HOURS, ColdFile, day_of, hour_of
from tael.cold.manifest import Head, Manifest
from tael.cold.pages import encode_index, encode_page
from tael.model.series import Matcher, Selection
from tael.model.time import DAY_NS, HOUR_NS, NS_PER_MS, TimeRange
from tael.storage.clickhouse.series import query_builder
from tael.vectors.values import Steps, Vector
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer, object_settings
from tests.support.series import StoredSeries
from tests.support.storage import START_NS, HotTier, of_service, open_tier, span_query, wire_span

SHARDS, YEAR_HOURS, ROUNDS = 4, 8_760, 25
FIRST = hour_of(START_NS)
BATCH = 20_000


async def store_spans(tier: HotTier, count: int, hour: int) -> list[bytes]:
    """Spans of an hour, eight to a trace, with eleven attributes each; some of the traces."""
    chance, known = random.Random(hour), []
    for begin in range(0, count, BATCH):
        spans = []
        for number in range(begin, min(begin + BATCH, count)):
            if number % 8 == 0:
                trace = os.urandom(16)
                known.append(trace)
            attributes = {f"http.attribute.{key}": f"{key}-{chance.randrange(200)}" for key in range(11)}
            offset = FIRST - START_NS + hour * HOUR_NS + number * (HOUR_NS // count)
            spans.append(
                wire_span(offset, duration_ns=chance.randrange(1, 10**9), name=f"GET /{number % 40}", trace_id=trace, attributes=attributes)
            )
        await tier.store(of_service(f"service-{begin // BATCH % 20}", *spans))
    return known[:: max(1, len(known) // 100)]


async def hot_bytes(tier: HotTier) -> int:
    """Bytes of the spans on the hot tier's disks."""
    sql = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'spans' AND database = {database:String}"
    return sum([int((await one.query(sql, {"database": one.database}))[0][0]) for one in tier.clickhouses])


async def p50_ms(ask: Callable[[int], Awaitable[object]], rounds: int = ROUNDS) -> float:
    """The median time of a question, which gets its number."""
    took = []
    for number in range(rounds):
        started = time.perf_counter()
        await ask(number)
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


async def make_up(tier: HotTier, shard: int, files: Iterable[ColdFile]) -> None:
    """Put these files into a shard's manifest beside those that it has."""
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
        return await tier.reader.get_trace("t1", traces[number % len(traces)])

    for name, traces in (("hot", hot), ("cold", cold)):
        await get(traces, 0)
        before = time.process_time()
        median = await p50_ms(partial(get, traces))
        print(f"trace by id, {name}: p50 {median:.1f} ms, {(time.process_time() - before) * 1000 / ROUNDS:.1f} ms of the reader's CPU")


async def of_spans(tier: HotTier, count: int) -> None:
    """Roll, weigh, and ask by id, hot and cold, under a year's manifest."""
    assert tier.cold is not None
    tier.rolls = False
    cold, hot = [], await store_spans(tier, count // 3, 2)
    for hour in range(2):
        cold += await store_spans(tier, count // 3, hour)
    for clickhouse in tier.clickhouses:
        await clickhouse.command(f"OPTIMIZE TABLE {clickhouse.database}.spans FINAL")
    weight = await hot_bytes(tier) / count
    started = time.perf_counter()
    await tier.cold.roll(FIRST + 2 * HOUR_NS)
    took = time.perf_counter() - started
    files = [file for shard in range(SHARDS) for file in (await tier.cold.manifests.read(shard)).files("spans")]
    rows = sum(file.rows for file in files)
    print(
        f"rolled {rows} spans in {took:.1f} s: {rows / took:,.0f} rows/s; {weight:.1f} bytes a span hot, {sum(file.bytes for file in files) / rows:.1f} cold"
    )
    await of_traces(tier, hot, cold)
    for before in range(1, 23):
        await store_spans(tier, count // 100, -before)
    await tier.cold.roll(FIRST + 2 * HOUR_NS)
    for shard in range(SHARDS):
        model = (await tier.cold.manifests.read(shard)).files("spans")[-1]
        hours = (FIRST - number * HOUR_NS for number in range(23, YEAR_HOURS - 1))
        await make_up(tier, shard, [replace(model, hour_ns=at, min_time_ns=at, max_time_ns=at + HOUR_NS - 1) for at in hours])
    print(f"over a manifest of {YEAR_HOURS} hours on each of {SHARDS} shards:")

    await of_traces(tier, hot, cold)
    cold_hour = TimeRange(FIRST + HOUR_NS, FIRST + 2 * HOUR_NS)
    day = TimeRange(FIRST - 22 * HOUR_NS, FIRST + 2 * HOUR_NS)
    questions: dict[str, Callable[[int], Awaitable[object]]] = {
        "services of a cold hour (an aggregate)": lambda _: tier.reader.list_services("t1", cold_hour),
        "newest 100 spans of a service in 24 cold hours": lambda _: tier.reader.find_spans("t1", span_query(day, service="service-1")),
        "a search of 24 cold hours that finds nothing": lambda _: tier.reader.find_spans("t1", span_query(day, text="nowhere")),
    }
    for name, ask in questions.items():
        print(f"{name}: p50 {await p50_ms(ask, 7):.0f} ms")


async def of_a_year(tier: HotTier, series: int) -> None:
    """Roll up a day, have it 365 times, and ask a panel of a year."""
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
    """The file as of so many days before."""
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
    """What planning costs, and a panel, for the first time and again."""
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
    """So many shards in one hot node, and a bucket."""
    with HotNode(folder / f"node-{count}", environment=object_settings()) as node:
        async with open_tier([node] * count, tiering="cold", deadline_seconds=300) as tier:
            yield tier


async def main(arguments: Sequence[str] | None = None) -> None:
    """All of it, on this machine."""
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
            async with shards(Path(folder), 1) as tier:
                await of_a_year(tier, options.series)
        finally:
            server.stop()


if __name__ == "__main__":
    asyncio.run(main())
