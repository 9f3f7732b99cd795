"""A request that its client sends again is stored once, within two minutes, whatever was restarted in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from nats.aio.client import Client

from tael.cluster.lease import Intent, Lease, writer_key
from tael.errors import Unavailable
from tael.model.mark import Mark
from tael.wal.jetstream.digests import JetStreamDigests
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import wal_state
from tests.support.nats import NatsServer
from tests.support.writer_bench import Bench, holds


async def append(bench: Bench, *wanted: str) -> None:
    """One request a name, all at once, each again until it is taken."""

    async def one(name: str) -> None:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(Unavailable):
                    await bench.append(name)
                    return
                await asyncio.sleep(0.02)

    await asyncio.gather(*(one(name) for name in wanted))


async def forget_message_ids(server: NatsServer, client: Client) -> None:
    """Kill the server and start it: it knows only the ids of entries that it still holds."""
    server.kill()
    server.start()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unavailable):
                await wal_state(client, "tael", 0)
                return
            await asyncio.sleep(0.02)


async def trimmed(bench: Bench) -> None:
    """Until the writer has trimmed what it wrote but for the last entry."""
    async with asyncio.timeout(60):
        while (state := await wal_state(bench.client, "tael", 0)).first < state.last:  # noqa: ASYNC110  # the server offers no event for it
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("restart", ["nothing", "nats", "writer", "both"])
async def test_a_resend_is_known_after_restarts(bench: Bench, nats_server: NatsServer, nats_client: Client, restart: str) -> None:
    """The entries are trimmed, NATS has forgotten their ids, and another writer took the shard over."""
    sent = [str(number) for number in range(50)]
    async with bench.writing("node-a"):
        await append(bench, *sent[:25])
        await append(bench, *sent[25:])
        await holds(lambda: len(bench.tier.names) == 50)
        await trimmed(bench)
        if restart in {"nothing", "nats"}:
            if restart == "nats":
                await forget_message_ids(nats_server, nats_client)
            await append(bench, *sent[10:40], "new")
            await holds(lambda: "new" in bench.tier.names)
    if restart in {"writer", "both"}:
        if restart == "both":
            await forget_message_ids(nats_server, nats_client)
        await bench.grant("node-b")
        async with bench.writing("node-b"):
            await append(bench, *sent[10:40], "new")
            await holds(lambda: "new" in bench.tier.names)
    assert Counter(bench.tier.names) == Counter([*sent, "new"])


async def test_a_repeated_intent_leaves_out_what_its_first_writer_left_out(bench: Bench) -> None:
    """Its predecessor had inserted nothing of it yet; what it dropped is known from the entries before the intent."""
    await append(bench, "a", "b")
    await append(bench, "c", "a")
    await append(bench, "b", "d")
    reader = JetStreamReader(bench.client, "tael", 0)
    entries = await reader.read(Mark(), max_items=100, max_bytes=10**6, wait_seconds=0.3)
    assert len(entries) == 3
    found = await bench.kv.get(writer_key(0))
    assert found is not None
    held = Lease.decode(found).intend(Intent(first=1, last=1, mark=reader.mark(entries[0])))
    intent = Intent(first=2, last=3, mark=reader.mark(entries[2]))
    await bench.kv.update(writer_key(0), held.intend(intent).encode(), found.revision)
    bench.tier.names += ["a", "b"]
    await bench.grant("node-b")
    async with bench.writing("node-b"):
        await holds(lambda: len(bench.tier.names) == 4)
        await asyncio.sleep(0.2)
    assert bench.tier.names == ["a", "b", "c", "d"]


async def test_digests_that_are_old_are_forgotten_by_their_store(bench: Bench) -> None:
    """What was saved comes back in order until it is forgotten."""
    async with bench.writing("node-a"):
        await append(bench, "a", "b")
        await holds(lambda: len(bench.tier.names) == 2)
        await trimmed(bench)
        await asyncio.sleep(2.5)
    store = JetStreamDigests(bench.client, "tael", 0)
    saved = list(await store.load())
    assert sum(len(entry.digests) for message in saved for entry in message.entries) == 2 * 16
    place = await store.save(saved[0])
    assert list(await store.load()) == [*saved, saved[0]]
    await store.forget(place - 1)
    assert list(await store.load()) == [saved[0]]
    await store.forget(place)
    assert list(await store.load()) == []
