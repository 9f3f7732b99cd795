"""What every key-value store must hold (tael/cluster/api.py), run against a JetStream bucket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tael.cluster.api import Versioned
from tael.cluster.nats_kv import NatsKeyValue
from tael.errors import Conflict, Unavailable
from tests.support.nats import NatsServer


async def open_bucket(client: Client) -> NatsKeyValue:
    """A bucket; making it twice is one bucket."""
    kv = NatsKeyValue(client, "tael")
    await kv.ensure()
    await kv.ensure()
    return kv


async def test_create_update_get_delete(nats_client: Client) -> None:
    """The life of a key; revisions only grow."""
    kv = await open_bucket(nats_client)
    assert await kv.get("a.b") is None
    first = await kv.create("a.b", b"1")
    second = await kv.update("a.b", b"2", first)
    assert second > first
    assert await kv.get("a.b") == Versioned("a.b", b"2", second)
    await kv.delete("a.b")
    await kv.delete("a.b")
    assert await kv.get("a.b") is None
    assert await kv.list("a.") == []
    assert await kv.create("a.b", b"3") > second


async def test_a_lost_compare_and_set_is_a_conflict(nats_client: Client) -> None:
    """A stale revision, and a key that exists already."""
    kv = await open_bucket(nats_client)
    first = await kv.create("k", b"1")
    await kv.update("k", b"2", first)
    with pytest.raises(Conflict):
        await kv.update("k", b"3", first)
    with pytest.raises(Conflict):
        await kv.create("k", b"3")
    found = await kv.get("k")
    assert found is not None
    assert found.value == b"2"


async def test_of_many_writers_one_wins(nats_client: Client) -> None:
    """Twenty compare-and-sets at one revision."""
    kv = await open_bucket(nats_client)
    revision = await kv.create("k", b"")
    outcomes = await asyncio.gather(*(kv.update("k", str(i).encode(), revision) for i in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19


async def test_list_is_limited_to_a_prefix(nats_client: Client) -> None:
    """Sorted by key, nothing else's."""
    kv = await open_bucket(nats_client)
    for key in ("m.b", "m.a", "n.a"):
        await kv.put(key, key.encode())
    assert [v.key for v in await kv.list("m.")] == ["m.a", "m.b"]
    assert [v.key for v in await kv.list("")] == ["m.a", "m.b", "n.a"]


async def test_a_watch_sees_what_is_there_and_what_comes_across_a_restart(nats_server: NatsServer, nats_client: Client) -> None:
    """Present values first; a deletion has an empty value; the server's restart loses nothing for good."""
    kv = await open_bucket(nats_client)
    await kv.put("w.1", b"one")
    seen: asyncio.Queue[Versioned] = asyncio.Queue()

    async def watch() -> None:
        async for change in kv.watch("w."):
            await seen.put(change)

    task = asyncio.create_task(watch())
    async with asyncio.timeout(60):
        assert (await seen.get()).value == b"one"
        await kv.put("other", b"x")
        await kv.put("w.2", b"two")
        change = await seen.get()
        assert (change.key, change.value) == ("w.2", b"two")
        await kv.delete("w.1")
        change = await seen.get()
        assert (change.key, change.value) == ("w.1", b"")
        nats_server.kill()
        nats_server.start()
        while True:
            with contextlib.suppress(Unavailable):
                await kv.put("w.2", b"after")
                break
            await asyncio.sleep(0.05)
        change = await seen.get()
        assert (change.key, change.value) == ("w.2", b"after")
    task.cancel()


async def test_without_the_server_everything_is_unavailable(nats_server: NatsServer, nats_client: Client) -> None:
    """At once, or in the time of one request."""
    kv = await open_bucket(nats_client)
    nats_server.kill()
    for call in (kv.get("k"), kv.put("k", b""), kv.create("k", b""), kv.delete("k"), kv.list("")):
        with pytest.raises(Unavailable):
            await call


async def test_a_watch_waits_for_a_bucket_that_is_not_there_yet(nats_client: Client) -> None:
    """A process may start before the coordinator has made it."""
    kv = NatsKeyValue(nats_client, "tael")
    with pytest.raises(Unavailable, match="does not exist yet"):
        await kv.list("")

    async def first() -> Versioned:
        async for change in kv.watch("w."):
            return change
        raise AssertionError

    task = asyncio.create_task(first())
    await asyncio.sleep(0)
    await kv.ensure()
    await kv.put("w.1", b"one")
    assert (await asyncio.wait_for(task, 60)).value == b"one"


@pytest.mark.parametrize("turns", range(4))
async def test_a_watch_ends_when_it_is_cancelled_in_the_moment_its_hint_arrives(
    nats_client: Client, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """A draining process writes keys that it watches itself; where a cancellation is lost then, the process never ends."""
    kv = await open_bucket(nats_client)
    hints: list[Callable[[Msg], Awaitable[None]]] = []
    subscribe = nats_client.subscribe

    async def overheard(subject: str, *, cb: Callable[[Msg], Awaitable[None]]) -> Subscription:
        hints.append(cb)
        return await subscribe(subject, cb=cb)

    monkeypatch.setattr(nats_client, "subscribe", overheard)
    await kv.put("lease.a", b"1")
    seen = asyncio.Event()

    async def watch() -> None:
        async for _ in kv.watch("lease."):
            seen.set()

    watching = asyncio.create_task(watch())
    await seen.wait()
    await asyncio.sleep(0)
    await hints[0](Msg(nats_client))
    for _ in range(turns):
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait({watching}, timeout=30)
    assert watching.cancelled()
