"""A WAL that lost its tail or was made anew: what it holds is written once, and what is gone from it is counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from nats.aio.client import Client

from tael.cluster.lease import Intent, Lease, writer_key
from tael.errors import Diverged, Unavailable
from tael.model.mark import Mark
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import wal_state
from tests.support.nats import NatsServer
from tests.support.writer_bench import Bench, holds

STREAM = "tael_wal_0"


def names(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


async def append(bench: Bench, *wanted: str) -> None:
    """One request a name, each again until it is taken."""
    for name in wanted:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(Unavailable):
                    await bench.append(name)
                    break
                await asyncio.sleep(0.02)


async def truncate(server: NatsServer, client: Client, entries: int) -> None:
    """Kill the server, cut the last entries off its file, start it, and wait until it answers this client."""
    server.kill()
    server.cut_tail(STREAM, entries)
    server.start()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unavailable):
                await wal_state(client, "tael", 0)
                return
            await asyncio.sleep(0.02)


async def written(bench: Bench, wanted: list[str]) -> None:
    """Until each is in the hot tier, and for a while longer: none is there twice."""
    await holds(lambda: set(wanted) <= set(bench.tier.names))
    await asyncio.sleep(0.3)
    assert Counter(bench.tier.names) == Counter(wanted)


@pytest.mark.parametrize("new", [1, 6, 30])
async def test_written_entries_are_cut_off_and_their_sequences_used_again(
    bench: Bench, nats_server: NatsServer, nats_client: Client, new: int
) -> None:
    """What comes under the sequences of entries that were written is written too, whether it stays below the committed one or passes it."""
    async with bench.writing("node-a"):
        await append(bench, *names(1, 20))
        await written(bench, names(1, 20))
        await truncate(nats_server, nats_client, 6)
        await append(bench, *names(21, 20 + new))
        await written(bench, names(1, 20 + new))
    lease = await bench.lease()
    assert (lease.committed, lease.generation, lease.lost) == (14 + new, 1, 0)


@pytest.mark.parametrize("new", [0, 3, 6, 30])
async def test_the_same_while_no_writer_runs(bench: Bench, nats_server: NatsServer, nats_client: Client, new: int) -> None:
    """The successor knows it by the lease's mark alone."""
    async with bench.writing("node-a"):
        await append(bench, *names(1, 20))
        await written(bench, names(1, 20))
    await truncate(nats_server, nats_client, 6)
    await append(bench, *names(21, 20 + new))
    await bench.grant("node-b")
    async with bench.writing("node-b"):
        await append(bench, "last")
        await written(bench, [*names(1, 20 + new), "last"])


async def test_a_stream_recreated_under_load_is_written_from_its_beginning(bench: Bench, nats_client: Client) -> None:
    """Whatever its sequences were used for before, and before it has as many entries."""
    js = nats_client.jetstream()
    async with bench.writing("node-a"):
        await append(bench, *names(1, 10))
        await written(bench, names(1, 10))
        config = (await js.stream_info(STREAM)).config
        await js.delete_stream(STREAM)
        await js.add_stream(config)
        await append(bench, *names(11, 30))
        await written(bench, names(1, 30))
    lease = await bench.lease()
    assert (lease.generation, lease.lost) == (1, 0)


async def test_entries_that_nobody_wrote_are_counted(bench: Bench, nats_server: NatsServer, nats_client: Client) -> None:
    """The hot tier is away; what was read is written from memory, and of the rest the lease says how many are gone."""
    bench.tier.unavailable = 10**6
    await append(bench, *names(1, 300))
    async with bench.writing("node-a", TAEL_BATCH_MAX_SPANS="10"):
        await holds(lambda: bench.tier.unavailable < 10**6 - 1)
        await truncate(nats_server, nats_client, 250)
        bench.tier.unavailable = 0
        await append(bench, *names(301, 310))
        await holds(lambda: set(names(301, 310)) <= set(bench.tier.names))
    lease, kept = await bench.lease(), set(bench.tier.names)
    assert len(bench.tier.names) == len(kept)
    assert set(names(1, 50)) <= kept
    assert lease.lost == 310 - len(kept) > 0


async def test_entries_that_somebody_purged_are_counted(bench: Bench, nats_client: Client) -> None:
    """A purge beyond what is committed is a loss like any other."""
    async with bench.writing("node-a"):
        await append(bench, *names(1, 5))
        await written(bench, names(1, 5))
    await append(bench, *names(6, 15))
    await nats_client.jetstream().purge_stream(STREAM, seq=13)
    async with bench.writing("node-a"):
        await written(bench, [*names(1, 5), *names(13, 15)])
    assert (await bench.lease()).lost == 7


async def test_an_intent_over_a_lost_tail_is_repeated_as_far_as_it_is_there(
    bench: Bench, nats_server: NatsServer, nats_client: Client
) -> None:
    """The predecessor had written all of it: what stands in its place now is no part of it and is written under tokens of its own."""
    await append(bench, *names(1, 10))
    reader = JetStreamReader(nats_client, "tael", 0)
    entries = await reader.read(Mark(), max_items=10, max_bytes=10**6, wait_seconds=1)
    found = await bench.kv.get(writer_key(0))
    assert found is not None
    intent = Intent(first=1, last=10, mark=reader.mark(entries[-1]))
    await bench.kv.update(writer_key(0), Lease.decode(found).intend(intent).encode(), found.revision)
    bench.tier.tokens.add("0.0:1-10:traces")
    bench.tier.names += names(1, 10)
    await truncate(nats_server, nats_client, 4)
    await append(bench, *names(11, 17))
    await bench.grant("node-b")
    async with bench.writing("node-b"):
        await written(bench, names(1, 17))
    assert (await bench.lease()).lost == 4


async def test_a_reader_returns_nothing_behind_an_entry_that_changed(bench: Bench, nats_server: NatsServer, nats_client: Client) -> None:
    """It says so instead, and finds the place where the WAL differs."""
    await append(bench, *names(1, 10))
    reader = JetStreamReader(nats_client, "tael", 0)
    entries = await reader.read(Mark(), max_items=10, max_bytes=10**6, wait_seconds=1)
    mark = reader.mark(entries[-1])
    await truncate(nats_server, nats_client, 3)
    await append(bench, *names(11, 20))
    with pytest.raises(Diverged):
        await JetStreamReader(nats_client, "tael", 0).read(mark, max_items=10, max_bytes=10**6, wait_seconds=1)
    place = await reader.resume(mark)
    assert place == reader.mark(entries[6])
    assert [entry.sequence for entry in await reader.read(place, max_items=100, max_bytes=10**6, wait_seconds=0.2)] == list(range(8, 18))


@pytest.mark.parametrize("new", [1, 2, 3])
async def test_a_reader_that_has_read_all_notices_that_the_last_entries_are_others(
    bench: Bench, nats_server: NatsServer, nats_client: Client, new: int
) -> None:
    """Also where as many were appended as were lost, so that the WAL ends where it did and nothing follows."""
    await append(bench, *names(1, 10))
    reader = JetStreamReader(nats_client, "tael", 0)
    mark = reader.mark((await reader.read(Mark(), max_items=10, max_bytes=10**6, wait_seconds=1))[-1])
    assert not await reader.read(mark, max_items=10, max_bytes=10**6, wait_seconds=0.2)
    await truncate(nats_server, nats_client, 3)
    await append(bench, *names(11, 10 + new))
    with pytest.raises(Diverged):
        await reader.read(mark, max_items=10, max_bytes=10**6, wait_seconds=0.2)
