"""The writer over a real log and lease: exactly once whatever it is refused, robbed of or repeats."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from services.ingest.telemetry import WriterMetrics
from services.ingest.writer.parts import Parts
from services.ingest.writer.plan import linger_seconds
from services.ingest.writer.pool import WriterPool
from services.ingest.writer.settings import WriterSettings
from tael.cluster.lease import Intent, Lease, writer_key
from tael.errors import Fenced
from tael.runtime.failpoint import fail_at
from tael.runtime.service import Stop
from tael.storage.api import LANDING
from tael.wal import codec
from tael.wal.jetstream.digests import JetStreamDigests
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.writer_bench import Bench, MemoryTier, holds


async def test_appended_entries_are_written_in_order_and_committed(bench: Bench) -> None:
    """The commit is recorded when the writer idles, and again at the drain."""
    await bench.append("1", "2")
    async with bench.writing("node-a"):
        await bench.append("3")
        await holds(lambda: bench.tier.names == ["1", "2", "3"])
    assert (await bench.lease()).committed == 2
    assert (await bench.lease()).intent is None


async def test_an_intent_is_repeated_with_its_borders_and_token(bench: Bench) -> None:
    """A predecessor had stored the range and died before it could say so: nothing is doubled, and what follows is written."""
    for name in ("1", "2", "3"):
        await bench.append(name)
    found = await bench.kv.get(writer_key(0))
    assert found is not None
    await bench.kv.update(writer_key(0), Lease.decode(found).intend(Intent(first=1, last=2)).encode(), found.revision)
    bench.tier.tokens.add("0.0:1-2:traces")
    bench.tier.names += ["1", "2"]
    await bench.grant("node-b")
    async with bench.writing("node-b"):
        await holds(lambda: bench.tier.names == ["1", "2", "3"])
    assert (await bench.lease()).committed == 3
    # An intent without an edition is an older release's, whose tables know the token.
    assert bench.tier.landings == [0, LANDING]


async def test_pieces_of_a_refused_insert_go_to_the_intents_landing_tables(bench: Bench) -> None:
    """A successor that cuts an older release's insert cuts it as that did: the pieces' tokens are known there alone."""
    await bench.append("1", "bad")
    await bench.append("3")
    bench.tier.refused.add("bad")
    found = await bench.kv.get(writer_key(0))
    assert found is not None
    await bench.kv.update(writer_key(0), Lease.decode(found).intend(Intent(first=1, last=1)).encode(), found.revision)
    await bench.grant("node-b")
    async with bench.writing("node-b"):
        await holds(lambda: bench.tier.names == ["1", "3"])
    assert bench.tier.landings == [0, 0, 0, 0, LANDING]
    assert bench.tier.tokens == {"0.0:1-1:traces:n:l", "0.0:2-2:traces"}


async def test_a_cut_intent_is_repeated_with_its_cuts(bench: Bench) -> None:
    """Of two inserts only one had been stored: the successor makes the same two, whatever it would have cut itself."""
    for name in ("1", "2", "3"):
        await bench.append(name)
    found = await bench.kv.get(writer_key(0))
    assert found is not None
    intent = Intent(first=1, last=3, cuts=(3,))
    await bench.kv.update(writer_key(0), Lease.decode(found).intend(intent).encode(), found.revision)
    bench.tier.tokens.add("0.0:1-2:traces")
    bench.tier.names += ["1", "2"]
    await bench.grant("node-b")
    async with bench.writing("node-b"):
        await holds(lambda: len(bench.tier.names) == 3)
    assert bench.tier.names == ["1", "2", "3"]
    assert bench.tier.tokens == {"0.0:1-2:traces", "0.0:3-3:traces"}
    assert (await bench.lease()).committed == 3


async def test_a_large_batch_is_written_in_several_inserts(bench: Bench) -> None:
    """Each with a token of its own range, and all of them before the batch counts as written."""
    for name in ("1", "2", "3", "4"):
        await bench.append(name)
    async with bench.writing("node-a", TAEL_INSERT_MAX_ITEMS="2"):
        await holds(lambda: len(bench.tier.names) == 4)
    assert sorted(bench.tier.names) == ["1", "2", "3", "4"]
    assert bench.tier.tokens == {"0.0:1-2:traces", "0.0:3-4:traces"}


async def test_a_fenced_writer_writes_nothing_more(bench: Bench) -> None:
    """It is stopped by its compare-and-set, before the insert, and says by whom."""
    writer = await bench.writer("node-a")
    await bench.grant("node-b")
    await bench.append("1")
    with pytest.raises(Fenced, match="node-b with epoch 2"):
        await asyncio.wait_for(writer.run(Stop()), 60)
    assert bench.tier.names == []


async def test_a_writer_that_ended_reports_no_lag(bench: Bench) -> None:
    """The next holder of the lease reports it; in a sum over both processes it would count twice."""

    def lags() -> list[float]:
        return [sample.value for metric in bench.metrics.lag.collect() for sample in metric.samples]

    async with bench.writing("node-a"):
        await bench.append("1")
        await holds(lags)
    assert lags() == []


async def test_a_span_that_is_refused_costs_no_other(bench: Bench) -> None:
    """The batch is cut until the span is alone; it is buried with the reason, once, and the rest is there once and in order."""
    bench.tier.refused.add("bad")
    await bench.append("1", "2")
    await bench.append("3", "bad", "4", "5")
    async with bench.writing("node-a"):
        await bench.append("6")
        await holds(lambda: "6" in bench.tier.names)
    assert bench.tier.names == ["1", "2", "3", "4", "5", "6"]
    js = bench.client.jetstream()
    assert (await js.stream_info("tael_dead")).state.messages == 1
    letter = await js.get_msg("tael_dead", seq=1)
    assert "cannot take ['bad']" in (letter.headers or {})["Tael-Reason"]
    [record] = codec.decode(letter.data or b"")
    assert b"bad" in record.request


async def test_a_tier_that_is_away_is_waited_for(bench: Bench) -> None:
    """With the same token, and nothing is lost or doubled."""
    bench.tier.unavailable = 3
    await bench.append("1")
    async with bench.writing("node-a"):
        await holds(lambda: bench.tier.names == ["1"])
    assert bench.tier.tokens == {"0.0:1-1:traces"}


async def test_a_recreated_wal_is_read_from_its_beginning(bench: Bench) -> None:
    """Its sequences were used before; tokens of the new log must not be taken for those of the old one."""
    for name in ("1", "2", "3"):
        await bench.append(name)
    async with bench.writing("node-a"):
        await holds(lambda: len(bench.tier.names) == 3)
    js = bench.client.jetstream()
    config = (await js.stream_info("tael_wal_0")).config
    await js.delete_stream("tael_wal_0")
    await js.add_stream(config)
    await bench.append("4")
    async with bench.writing("node-a"):
        await holds(lambda: bench.tier.names == ["1", "2", "3", "4"])
    assert (await bench.lease()).generation == 1


async def test_a_damaged_lease_stops_its_own_shard_until_it_is_repaired(bench: Bench) -> None:
    """Of two shards one goes on; the other's writer leaves the value that it wrote last in its error, which cures the key."""
    lost: list[str] = []
    stop, tiers = Stop(), [MemoryTier(), MemoryTier()]
    await JetStreamStreams(bench.client, "tael", "", replicas=1, max_bytes=64 << 20).ensure(2)

    async def parts_of(shard: int) -> Parts:
        settings = WriterSettings.model_validate({"TAEL_BATCH_MAX_SECS": "0.05"})
        reader = JetStreamReader(bench.client, "tael", shard)
        digests = JetStreamDigests(bench.client, "tael", shard)
        return Parts(shard, "node-a", bench.kv, reader, digests, tiers[shard], settings, WriterMetrics(CollectorRegistry()), fail_at(""))

    await bench.kv.put(writer_key(1), Lease(holder="node-a", epoch=1).encode())
    pool = asyncio.create_task(WriterPool(bench.kv, "node-a", parts_of, lambda _, fenced: lost.append(str(fenced))).run(stop))
    await bench.append("1")
    await holds(lambda: tiers[0].names == ["1"])
    await bench.kv.put(writer_key(0), b"garbage")
    await bench.kv.put("lease.writer.x", b"garbage")
    await bench.append("2")
    await holds(lambda: lost)
    assert f"{writer_key(0)} is damaged" in lost[0]
    await bench.append("3", shard=1)
    await holds(lambda: tiers[1].names == ["3"])
    assert not pool.done()
    await bench.kv.put(writer_key(0), lost[0].partition("last wrote ")[2].encode())
    await bench.grant("node-a")
    await holds(lambda: tiers[0].names == ["1", "2"])
    stop.set()
    await asyncio.wait_for(pool, 60)


@pytest.mark.parametrize("epoch", [1, 4], ids=["a smaller one", "the same one"])
async def test_a_grant_is_accepted_after_epochs_were_reset(bench: Bench, epoch: int) -> None:
    """As they do when NATS has lost its disk: the writer of the old epoch is fenced, and the same process is granted the shard again."""
    fenced: list[str] = []
    stop, tier = Stop(), MemoryTier()

    async def parts_of(shard: int) -> Parts:
        settings = WriterSettings.model_validate({"TAEL_BATCH_MAX_SECS": "0.05"})
        reader = JetStreamReader(bench.client, "tael", shard)
        digests = JetStreamDigests(bench.client, "tael", shard)
        return Parts(shard, "node-a", bench.kv, reader, digests, tier, settings, WriterMetrics(CollectorRegistry()), fail_at(""))

    await bench.kv.put(writer_key(0), Lease(holder="node-a", epoch=4).encode())
    pool = asyncio.create_task(WriterPool(bench.kv, "node-a", parts_of, lambda _, reason: fenced.append(str(reason))).run(stop))
    await bench.append("1")
    await holds(lambda: tier.names == ["1"])
    held = await bench.lease()
    await bench.kv.put(writer_key(0), held.model_copy(update={"holder": "", "epoch": 0}).encode())
    await bench.append("2")
    await holds(lambda: fenced)
    await bench.kv.put(writer_key(0), (await bench.lease()).model_copy(update={"holder": "node-a", "epoch": epoch}).encode())
    await holds(lambda: tier.names == ["1", "2"])
    stop.set()
    await asyncio.wait_for(pool, 60)


def test_lingering_follows_the_cost_of_an_insert() -> None:
    """Short when inserts are cheap, never beyond the setting."""
    assert linger_seconds(0.0, 1.0) == 0.1
    assert linger_seconds(0.1, 1.0) == pytest.approx(0.4)
    assert linger_seconds(5.0, 1.0) == 1.0
    assert linger_seconds(5.0, 0.05) == 0.05
