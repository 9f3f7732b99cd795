"""Deletions out of the cold tier's files, against the real parts: whoever dies where, what is to go goes and nothing else, once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from services.compactor.setbacks import Setbacks
from tael.cold import plan
from tael.cold.files import ROLLED, ColdFile
from tael.errors import Fenced, Unavailable
from tael.model.signals import METRICS
from tael.model.time import HOUR_NS
from tael.pb.metrics_pb2 import MetricBatch
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.storage.clickhouse.erase_cold import ClickHouseColdErase
from tael.storage.erase import Erasure, Selection
from tael.storage.rolling import Pace
from tael.wal import codec
from tests.contract.test_metric_tables import batch
from tests.support.cold import Crash
from tests.support.cold_shard import FILLED, HOUR, Cold, cold, finish
from tests.support.series import StoredSeries
from tests.support.storage import RECEIVED_NS, logs_of, of_service, wire_log, wire_span

__all__ = ["cold"]
ONE, TWO = b"1" * 16, b"2" * 16


def of_trace(trace_id: bytes, tenant: str = "t1") -> Selection:
    """What came of a trace."""
    return Selection(Erasure(tenant, "trace", trace_id.hex(), RECEIVED_NS + 1), (trace_id,))


async def two_traces(cold: Cold) -> None:
    """Two spans of each of two traces, and a log record, in a file of each table; a second file has a third span of each."""
    for number, times in enumerate(((0, 1), (2,))):
        spans = [wire_span(at, trace_id=trace_id) for at in times for trace_id in (ONE, TWO)]
        await cold.tier.store(of_service("shop", *spans))
        if number == 0:
            await cold.tier.store_logs(logs_of("shop", wire_log(0, trace_id=ONE), wire_log(1, trace_id=TWO)))
        await cold.roll()


async def test_an_hours_files_become_one_without_the_rows(cold: Cold) -> None:
    """What they held is swept, and a repeat finds nothing. Of an hour of which nothing stays no file does."""
    await two_traces(cold)
    before = (await cold.manifest()).files("spans")
    assert [file.rows for file in before] == [4, 2]
    eraser = await cold.eraser()
    erased = await eraser.erase(of_trace(ONE))
    assert (erased.rows, erased.left) == (4, False)
    assert {table: count for table, count in (await cold.ledger()).items() if count} == {"spans": 3, "logs": 1}
    [after] = (await cold.manifest()).files("spans")
    assert after.generation > max(file.generation for file in before)
    assert (await eraser.erase(of_trace(ONE))).rows == 0
    assert (await eraser.erase(of_trace(TWO, "t2"))).rows == 0
    assert (await eraser.erase(of_trace(TWO))).rows == 4
    assert (await cold.manifest()).files("spans") == []
    await (await cold.roller()).sweep()
    keys = {key for table in ("spans", "logs") for key in await cold.objects.list(f"{table}/")}
    assert not {file.key for file in (*before, after)} & keys


async def test_what_a_dead_owner_wrote_goes_too(cold: Cold) -> None:
    """A merge that died before its commit left a file that nothing names; it holds what is to go."""
    await two_traces(cold)
    cold.crash_at = "merged"
    roller = await cold.roller()
    await roller.load()
    assert plan.hours_to_merge(roller.owner.manifest) == [("spans", HOUR)]
    orphan = roller.owner.manifest.revision + 1
    with pytest.raises(Crash):
        await roller.merge()
    cold.crash_at = ""
    [key] = [key for key in await cold.objects.list("spans/") if key.endswith(f"/{cold.shard}-{orphan}.parquet")]
    await (await cold.eraser()).erase(of_trace(ONE))
    await (await cold.roller()).sweep()
    assert key not in await cold.objects.list("spans/")
    assert (await cold.ledger())["spans"] == 3


async def test_whoever_dies_where_the_next_one_goes_on(cold: Cold) -> None:
    """With the file written and not committed, and with the manifest changed."""
    await two_traces(cold)
    for place, logs in (("rewritten", 2), ("forgotten", 1)):
        cold.crash_at, eraser = place, await cold.eraser()
        with pytest.raises(Crash):
            await eraser.erase(of_trace(ONE))
        counts = await cold.ledger()
        assert (counts["spans"], counts["logs"]) == (6, logs)
    cold.crash_at = ""
    assert (await (await cold.eraser()).erase(of_trace(ONE))).rows == 3
    counts = await cold.ledger()
    assert (counts["spans"], counts["logs"]) == (3, 1)


async def test_the_hours_of_a_day_are_one_change(cold: Cold) -> None:
    """Also where the owner dies with all of them written, and of the day behind it none."""
    hours = [0, 1, 2, 26, 27]
    for hour in hours:
        await cold.tier.store(of_service("shop", *(wire_span(hour * HOUR_NS, trace_id=trace_id) for trace_id in (ONE, TWO))))
    await cold.roll()
    cold.crash_at, eraser = "rewritten", await cold.eraser()
    with pytest.raises(Crash):
        await eraser.erase(of_trace(ONE))
    assert (await cold.ledger())["spans"] == 10
    cold.crash_at, eraser = "", await cold.eraser()
    before = (await cold.manifest()).revision
    assert (await eraser.erase(of_trace(ONE))).rows == 5
    manifest = await cold.manifest()
    days = {file.hour_ns // (24 * HOUR_NS) for file in manifest.files("spans")}
    assert manifest.revision - before == len(days) == 2
    assert [(file.hour_ns, file.rows) for file in manifest.files("spans")] == [(HOUR + hour * HOUR_NS, 1) for hour in hours]
    assert (await cold.ledger())["spans"] == 5
    await (await cold.roller()).sweep()
    named = {file.key for file in manifest.files("spans")}
    assert {key for key in await cold.objects.list("spans/") if f"/{cold.shard}-" in key} == named


async def test_a_file_that_cannot_be_read_costs_no_other(cold: Cold) -> None:
    """It is named, and nothing is left once it can be read."""
    for hour in range(3):
        await cold.tier.store(of_service("shop", *(wire_span(hour * HOUR_NS, trace_id=trace_id) for trace_id in (ONE, TWO))))
    await cold.roll()
    bad = (await cold.manifest()).files("spans")[1]
    body = await cold.objects.get(bad.key)
    await cold.objects.put(bad.key, b"no file at all")
    for rows in (2, 0):
        erased = await (await cold.eraser()).erase(of_trace(ONE))
        assert (erased.rows, erased.left, erased.unread) == (rows, True, (bad.key,))
    assert [file.rows for file in (await cold.manifest()).files("spans")] == [1, 2, 1]
    await cold.objects.put(bad.key, body)
    assert (await (await cold.eraser()).erase(of_trace(ONE))).rows == 1
    assert (await cold.ledger())["spans"] == 3


async def test_a_zombie_rewrites_nothing(cold: Cold) -> None:
    """Its commit is refused, and what it wrote is no file that counts."""
    await two_traces(cold)
    zombie = await cold.eraser()
    await cold.roll()
    before = await cold.manifest()
    with pytest.raises(Fenced):
        await zombie.erase(of_trace(ONE))
    after = await cold.manifest()
    assert after.files("spans") == before.files("spans")
    assert (await cold.ledger())["spans"] == 6


async def test_a_file_that_lost_other_rows_is_not_committed(cold: Cold) -> None:
    """Its rows and its checksum must be those of the old files less those that were to go."""

    class Losing(ClickHouseColdErase):
        def __init__(self, traces: tuple[bytes, ...]) -> None:
            super().__init__(cold.clickhouse, cold.bucket_url)
            self._traces = traces

        async def rewrite(self, selection: Selection, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
            return await super().rewrite(Selection(selection.what, self._traces), files, generation, pace)

    await cold.tier.store(of_service("shop", *(wire_span(0, trace_id=trace_id) for trace_id in (ONE, TWO, b"3" * 16))))
    await cold.roll()
    for traces in ((TWO,), (ONE, TWO)):  # as many rows, but others; and more
        with pytest.raises(Unavailable, match="checksum"):
            await (await cold.eraser(Losing(traces))).erase(of_trace(ONE))
        assert [file.rows for file in (await cold.manifest()).files("spans")] == [3]
    await (await cold.eraser()).erase(of_trace(ONE))
    assert (await cold.ledger())["spans"] == 2


async def on_its_way(cold: Cold, place: str) -> None:
    """A third span of a trace whose roll dies there, beside what is cold."""
    await two_traces(cold)
    await cold.tier.store(of_service("shop", wire_span(3, trace_id=ONE)))
    cold.crash_at = place
    with pytest.raises(Crash):
        await finish(await cold.roller())
    cold.crash_at = ""


@pytest.mark.parametrize("place", ["moving", "moved"])
async def test_rows_between_two_tables_are_waited_for(cold: Cold, place: str) -> None:
    """They may be in neither of the places that a deletion looks at; it says which hour it waits for, and why that one is late."""
    await on_its_way(cold, place)
    setbacks = Setbacks(cold.shard)
    with pytest.raises(Unavailable), setbacks.of(plan.rolls("spans", HOUR), "the hour"):
        raise Unavailable("no answer")
    erased = await (await cold.eraser(setbacks=setbacks)).erase(of_trace(ONE))
    hour = datetime.fromtimestamp(HOUR // 10**9, UTC).strftime("%Y-%m-%dT%H:%MZ")
    assert (erased.rows, erased.left, erased.waits) == (4, True, (f"spans of {hour}, whose roll fails (no answer)",))
    await cold.roll()
    erased = await (await cold.eraser()).erase(of_trace(ONE))
    assert (erased.rows, erased.left) == (1, False)


@pytest.mark.parametrize("place", ["rolling", "exported", "committed"])
async def test_a_deletion_goes_on_around_an_hour_on_its_way(cold: Cold, place: str) -> None:
    """Out of the rolling table, of files that count and of one that does not yet; the hour arrives without it."""
    await on_its_way(cold, place)
    [hour] = (await cold.manifest()).head.open
    eraser, what = await cold.eraser(), of_trace(ONE)
    await ClickHouseErase(cold.clickhouse).erase_traces(what.what, what.traces)
    erased = await eraser.erase(what)
    assert (erased.left, erased.waits) == (False, ())
    assert await held_by(cold) == 3
    unfinished = [key for key in await cold.objects.list("spans/") if key.endswith(f"/{cold.shard}-{hour.generation}.parquet")]
    assert len(unfinished) == (place == "committed"), "what was committed is swept, like every file that was replaced"
    await cold.roll()
    assert (await cold.ledger())["spans"] == await held_by(cold) == 3
    assert (await (await cold.eraser()).erase(what)).rows == 0


async def held_by(cold: Cold) -> int:
    """Spans in the files that count, by what these hold."""
    return sum([await cold.rows_of(file) for file in (await cold.manifest()).files("spans")])


async def test_files_whose_rows_replace_others_are_written_anew_when_their_hour_is_there(cold: Cold) -> None:
    """Of exemplars of one time the one that came later counts."""
    for number in range(2):
        metrics = MetricBatch()
        metrics.exemplars.add(metric=1, series=2, time_ms=HOUR // 10**6 + 5, value=1.0, trace_id=ONE)
        await cold.tier.writers[0].write(METRICS, codec.encode("t1", 1, metrics.SerializeToString()), f"{number}")
        if number == 0:
            await cold.roll()
    cold.crash_at = "rolling"
    with pytest.raises(Crash):
        await finish(await cold.roller())
    cold.crash_at = ""
    erased = await (await cold.eraser()).erase(of_trace(ONE))
    assert (erased.rows, erased.left, [name[:13] for name in erased.waits]) == (0, True, ["exemplars of "])
    await cold.roll()
    assert (await (await cold.eraser()).erase(of_trace(ONE))).left is False
    assert (await cold.ledger())["exemplars"] == 0


async def test_a_tenant_goes_out_of_every_table(cold: Cold) -> None:
    """Of series, samples and their rollups too; another tenant's files stay, and payloads until nobody relies on them."""
    await cold.tier.store(of_service("shop", wire_span(0), wire_span(1)))
    await cold.tier.store(of_service("cart", wire_span(2)), tenant="o'ther*")
    await cold.tier.store_logs(logs_of("shop", wire_log()))
    await cold.tier.store_payloads(b"said")
    metrics = batch()
    metrics.value[1] = 2
    await cold.tier.writers[0].write(METRICS, codec.encode("t1", 1, metrics.SerializeToString()), "once")
    await cold.roll()
    roller = await cold.roller()
    await roller.load()
    cold.crash_at = "rolled up"
    with pytest.raises(Crash):
        await roller.roll_up(1 << 62)
    cold.crash_at, roller = "", await cold.roller()
    await roller.load()
    while await roller.roll_up(1 << 62):
        pass
    manifest = await cold.manifest()
    assert [file.resolution for table in ("samples", "histograms") for file in manifest.files(table)] == [300, 300]
    what = Erasure("t1", "tenant", "t1", time.time_ns() + 10**18)
    assert (await (await cold.eraser()).erase(Selection(what))).rows >= sum(FILLED.values()) - 3
    assert await cold.ledger() == {**dict.fromkeys(ROLLED, 0), "spans": 1, "payloads": 1}
    await (await cold.roller()).sweep()
    left = [key for key in await cold.objects.list("") if f"/{cold.shard}-" in key and "/tenant=t1/" in key]
    assert [key for key in left if not key.startswith("payloads/")] == [], "what a rollup wrote that died goes as well"


async def test_days_of_a_tenant_go(cold: Cold) -> None:
    """With what an owner wrote of them that died; another tenant's stay."""
    series = StoredSeries(cold.tier)
    for tenant in ("t1", "t2"):
        times = [(HOUR + hour * HOUR_NS) // 10**6 + 1_000 for hour in range(3)]
        series.add({"__name__": "up"}, [(at, 1.0) for at in times], tenant=tenant)
    await series.flush()
    await cold.roll()
    roller = await cold.roller()
    await roller.load()
    while await roller.roll_up(1 << 62):
        pass
    cold.crash_at = "merged"
    with pytest.raises(Crash):
        await roller.gather(1 << 62)
    cold.crash_at, roller = "", await cold.roller()
    await roller.load()
    while await roller.gather(1 << 62):
        pass
    assert [file.hours for table in ("samples", "series") for file in (await cold.manifest()).files(table)] == [24] * 4
    what = Erasure("t1", "tenant", "t1", time.time_ns() + 10**18)
    assert (await (await cold.eraser()).erase(Selection(what))).rows == 6
    await (await cold.roller()).sweep()
    counts = await cold.ledger()
    assert (counts["samples"], counts["series"]) == (3, 3)
    left = [key for key in await cold.objects.list("") if f"/{cold.shard}-" in key and "/tenant=t1/" in key]
    assert left == []


async def test_a_trace_goes_out_of_a_day_of_exemplars(cold: Cold) -> None:
    """And nothing else of the day does; whoever dies meanwhile."""
    for hour in range(2):
        metrics = MetricBatch()
        for trace_id in (ONE, TWO, b"3" * 16):
            metrics.exemplars.add(metric=1, series=2, time_ms=(HOUR - hour * HOUR_NS) // 10**6 + 5, value=1.0, trace_id=trace_id)
        await cold.tier.writers[0].write(METRICS, codec.encode("t1", 1, metrics.SerializeToString()), f"{hour}")
    await cold.roll()
    roller = await cold.roller()
    await roller.load()
    assert await roller.gather(1 << 62)
    for place, left in (("rewritten", 6), ("forgotten", 4)):
        cold.crash_at, eraser = place, await cold.eraser()
        with pytest.raises(Crash):
            await eraser.erase(of_trace(ONE))
        assert (await cold.ledger())["exemplars"] == left
    cold.crash_at = ""
    assert (await (await cold.eraser()).erase(of_trace(ONE))).rows == 0
    assert (await (await cold.eraser()).erase(of_trace(TWO))).rows == 2
    [day] = (await cold.manifest()).files("exemplars")
    assert (day.rows, day.hours) == (2, 24)
    assert (await (await cold.eraser()).erase(of_trace(b"3" * 16))).rows == 2
    await (await cold.roller()).sweep()
    assert [key for key in await cold.objects.list("exemplars") if f"/{cold.shard}-" in key] == []
