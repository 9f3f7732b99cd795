"""What every log must hold (tael/wal/api.py), run against JetStream."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client

import tael.runtime.nats
from tael.errors import Overloaded, Unavailable
from tael.model.mark import Mark
from tael.model.signals import LOGS, TRACES
from tael.runtime.nats import connection
from tael.runtime.settings import NatsSettings
from tael.wal import codec
from tael.wal.api import DeadLetter
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.nats import NatsServer


async def open_log(server: NatsServer, client: Client, max_bytes: int = 64 << 20) -> tuple[JetStreamAppender, JetStreamReader]:
    """Streams for two shards; the appender, and the reader of shard 0."""
    streams = JetStreamStreams(client, "tael", [server.monitor_url], replicas=1, max_bytes=max_bytes)
    await streams.ensure(2)
    return JetStreamAppender(client, "tael"), JetStreamReader(client, "tael", 0)


async def connected(client: Client, wanted: bool = True) -> None:  # reads as a sentence where it is called
    """Until the client is back after a restart, or has noticed that the server is gone."""
    async with asyncio.timeout(60):
        while client.is_connected is not wanted:  # noqa: ASYNC110  # the client offers no event for it
            await asyncio.sleep(0.02)


async def append_when_back(appender: JetStreamAppender, body: bytes, dedup_id: str) -> None:
    """As a client does it: the same again until it is taken."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unavailable):
                await appender.append(0, TRACES, body, 1, dedup_id)
                return
            await asyncio.sleep(0.02)


async def test_entries_come_back_in_order_with_what_they_carry(nats_server: NatsServer, nats_client: Client) -> None:
    """Sequence, signal, items and body; other shards' entries stay theirs."""
    appender, reader = await open_log(nats_server, nats_client)
    await appender.append(0, TRACES, b"a", 3, "1")
    await appender.append(1, TRACES, b"elsewhere", 1, "2")
    await appender.append(0, LOGS, b"b", 4, "3")
    entries = await reader.read(Mark(), max_items=100, max_bytes=1000, wait_seconds=0.5)
    assert [(e.sequence, e.signal, e.items, e.body) for e in entries] == [(1, TRACES, 3, b"a"), (2, LOGS, 4, b"b")]
    assert await reader.read(Mark(2), max_items=100, max_bytes=1000, wait_seconds=0.1) == []


@pytest.mark.parametrize(("max_items", "max_bytes", "at_most"), [(10, 10**9, 26), (10**9, 300, 30)])
async def test_a_read_stops_at_its_limits(
    nats_server: NatsServer, nats_client: Client, max_items: int, max_bytes: int, at_most: int
) -> None:
    """Soon after the limit is passed, and without waiting."""
    appender, reader = await open_log(nats_server, nats_client)
    for i in range(60):
        await appender.append(0, TRACES, bytes(100), 1, str(i))
    async with asyncio.timeout(30):
        entries = await reader.read(Mark(), max_items=max_items, max_bytes=max_bytes, wait_seconds=60)
    assert 0 < len(entries) <= at_most
    rest = await reader.read(Mark(entries[-1].sequence), max_items=1000, max_bytes=10**9, wait_seconds=0.3)
    assert [e.sequence for e in [*entries, *rest]] == list(range(1, 61))


async def test_a_repeated_append_adds_nothing(nats_server: NatsServer, nats_client: Client) -> None:
    """Within the window, after a trim too, and after a restart for what is still stored."""
    appender, reader = await open_log(nats_server, nats_client)
    for name in ("x", "y", "x"):
        await appender.append(0, TRACES, name.encode(), 1, name)
    assert (await reader.state()).last == 2
    await reader.trim(1)
    await appender.append(0, TRACES, b"x", 1, "x")
    assert (await reader.state()).last == 2
    nats_server.kill()
    nats_server.start()
    await append_when_back(appender, b"y", "y")
    assert (await reader.state()).last == 2


async def test_trim_forgets_and_a_range_returns_what_is_left(nats_server: NatsServer, nats_client: Client) -> None:
    """Sequences stay what they were; a reader that stood before the trim goes on behind it."""
    appender, reader = await open_log(nats_server, nats_client)
    for i in range(1, 11):
        await appender.append(0, TRACES, str(i).encode(), 1, str(i))
    await reader.trim(4)
    state = await reader.state()
    assert (state.first, state.last) == (5, 10)
    assert [e.sequence for e in await reader.read_range(3, Mark(6))] == [5, 6]
    assert [e.sequence for e in await reader.read(Mark(), max_items=100, max_bytes=10**6, wait_seconds=0.5)] == list(range(5, 11))
    await reader.trim(10)
    state = await reader.state()
    assert (state.last, state.size_bytes) == (10, 0)


async def test_a_full_log_is_overload_and_heals_when_trimmed(nats_server: NatsServer, nats_client: Client) -> None:
    """Nothing that is there is thrown away for what is new."""
    appender, reader = await open_log(nats_server, nats_client, max_bytes=1 << 20)

    async def attempt(number: int) -> Overloaded | None:
        try:
            await appender.append(0, TRACES, bytes(60_000), 1, str(number))
        except Overloaded as refused:
            return refused
        return None

    outcomes = [await attempt(number) for number in range(40)]
    stored = outcomes.index(next(outcome for outcome in outcomes if outcome))
    assert stored >= 10
    assert all("TAEL_WAL_MAX_BYTES" in str(refused) for refused in outcomes[stored:])
    assert [e.sequence for e in await reader.read_range(1, Mark(stored))] == list(range(1, stored + 1))
    await reader.trim(stored)
    await appender.append(0, TRACES, b"again", 1, "again")


async def test_an_append_without_the_server_fails_at_once_and_is_not_kept(nats_server: NatsServer, nats_client: Client) -> None:
    """Unavailable, with nothing sent behind the caller's back when the connection returns."""
    appender, reader = await open_log(nats_server, nats_client)
    nats_server.kill()
    await connected(nats_client, False)
    with pytest.raises(Unavailable):
        await appender.append(0, TRACES, b"lost", 1, "1")
    nats_server.start()
    await connected(nats_client)
    await appender.append(0, TRACES, b"kept", 1, "2")
    assert [e.body for e in await reader.read_range(1, Mark(5))] == [b"kept"]


async def test_a_reader_resumes_after_a_restart(nats_server: NatsServer, nats_client: Client) -> None:
    """Its consumer is gone with the server; entries are neither skipped nor repeated."""
    appender, reader = await open_log(nats_server, nats_client)
    await appender.append(0, TRACES, b"1", 1, "1")
    assert [e.sequence for e in await reader.read(Mark(), max_items=1, max_bytes=10, wait_seconds=5)] == [1]
    nats_server.kill()
    nats_server.start()
    await append_when_back(appender, b"2", "2")
    async with asyncio.timeout(60):
        while True:
            try:
                if entries := await reader.read(Mark(1), max_items=1, max_bytes=10, wait_seconds=1):
                    break
            except Unavailable:
                continue
    assert [e.sequence for e in entries] == [2]


async def test_appends_beyond_the_bytes_in_flight_are_refused(nats_server: NatsServer, nats_client: Client) -> None:
    """Memory stays bounded while the WAL does not answer."""
    await open_log(nats_server, nats_client)
    appender = JetStreamAppender(nats_client, "tael", in_flight_bytes=1000)
    nats_server.pause()
    try:
        first = asyncio.create_task(appender.append(0, TRACES, bytes(900), 1, "1"))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await appender.append(0, TRACES, bytes(900), 1, "2")
    finally:
        nats_server.resume()
    await first


async def test_a_stalled_server_makes_appends_unavailable_in_time(nats_server: NatsServer, nats_client: Client) -> None:
    """However much is sent: nothing waits in the client for a socket that is full; sent again, all are there."""
    _, reader = await open_log(nats_server, nats_client)
    appender = JetStreamAppender(nats_client, "tael", patience_seconds=0.9)
    bodies = [codec.encode(str(number), 1, bytes(200_000)) for number in range(100)]
    nats_server.pause()
    try:
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(
                *(appender.append(0, TRACES, body, 1, str(number)) for number, body in enumerate(bodies)), return_exceptions=True
            )
    finally:
        nats_server.resume()
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    await asyncio.gather(*(append_when_back(appender, body, str(number)) for number, body in enumerate(bodies)))
    found = await reader.read(Mark(), max_items=10**6, max_bytes=10**9, wait_seconds=1)
    assert {record.tenant for entry in found for record in codec.decode(entry.body)} == {str(number) for number in range(100)}


async def test_appends_that_wait_become_one_entry(nats_server: NatsServer, nats_client: Client) -> None:
    """While one is on its way the others gather, in their order, as many as an entry takes; a signal and a shard have entries of
    their own.
    """
    appender, reader = await open_log(nats_server, nats_client)
    sent = [(f"t{number}", bytes(30_000)) for number in range(80)]
    await asyncio.gather(
        *(appender.append(0, TRACES, codec.encode(tenant, 1, request), 2, tenant) for tenant, request in sent),
        *(appender.append(0, LOGS, codec.encode("logs", 1, b""), 1, f"l{number}") for number in range(3)),
    )
    entries = await reader.read(Mark(), max_items=10**6, max_bytes=10**9, wait_seconds=0.5)
    traces = [entry for entry in entries if entry.signal == TRACES]
    assert [record.tenant for entry in traces for record in codec.decode(entry.body)] == [tenant for tenant, _ in sent]
    assert [entry.items for entry in traces] == [2 * 34, 2 * 34, 2 * 12]
    assert [entry.items for entry in entries if entry.signal == LOGS] == [3]


async def test_an_append_that_nobody_waits_for_is_left_out(nats_server: NatsServer, nats_client: Client) -> None:
    """Its client has gone before it was sent; its neighbours are appended."""
    appender, reader = await open_log(nats_server, nats_client)
    appends = [asyncio.create_task(appender.append(0, TRACES, codec.encode(name, 1, b""), 1, name)) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    appends[1].cancel()
    await asyncio.gather(appends[0], appends[2])
    entries = await reader.read(Mark(), max_items=10, max_bytes=10**6, wait_seconds=0.3)
    assert [record.tenant for entry in entries for record in codec.decode(entry.body)] == ["a", "c"]


async def test_appends_in_flight_hear_of_a_lost_connection(nats_server: NatsServer, nats_client: Client) -> None:
    """At once, not when their time is over."""
    await open_log(nats_server, nats_client)
    appender = JetStreamAppender(nats_client, "tael", patience_seconds=600)
    nats_server.pause()
    waiting = asyncio.create_task(appender.append(0, TRACES, b"x", 1, "x"))
    await asyncio.sleep(0)
    nats_server.kill()
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable):
            await waiting


async def test_a_process_can_start_before_its_server(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is Unavailable until the server is there, and then goes on by itself; leaving works without one."""
    monkeypatch.setattr(tael.runtime.nats, "_FIRST_WAIT_SECONDS", 0.05)
    nats_server.kill()
    async with connection(nats_server.settings(), "early") as client:
        with pytest.raises(Unavailable):
            await JetStreamReader(client, "tael", 0).state()
        nats_server.start()
        await connected(client)
        await open_log(nats_server, client)
        nats_server.kill()
    async with connection(nats_server.settings(), "in vain"):
        pass


async def test_a_connection_to_a_silent_server_is_closed(nats_server: NatsServer) -> None:
    """As a frozen node does: its connection is closed before the next try, not kept until memory is collected; and a client that is stopped
    just as it is accepted does stop.
    """
    accepted: list[asyncio.StreamWriter] = []
    second, left = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        if len(accepted) > 1:
            second.set()
        await reader.read()
        left.set()
        writer.close()

    async with asyncio.timeout(60), connection(NatsSettings(TAEL_NATS_URL=(nats_server.url,)), "test") as client:
        await connected(client)
        nats_server.kill()
        async with await asyncio.start_server(mute, "127.0.0.1", nats_server.port):
            await second.wait()
            await left.wait()
            assert not accepted[1].transport.is_closing()


async def test_a_read_that_may_not_wait_takes_everything(nats_server: NatsServer, nats_client: Client) -> None:
    """Also where there is more than one answer of the server holds."""
    appender, reader = await open_log(nats_server, nats_client)
    for number in range(300):
        await appender.append(0, TRACES, bytes(10), 1, str(number))
    entries = await reader.read(Mark(), max_items=10**6, max_bytes=10**9, wait_seconds=0)
    assert [entry.sequence for entry in entries] == list(range(1, 301))
    assert await reader.read(Mark(300), max_items=10**6, max_bytes=10**9, wait_seconds=0) == []


async def test_reads_go_on_from_any_sequence(nats_server: NatsServer, nats_client: Client) -> None:
    """A successor starts where the lease says; one that was cancelled in the middle of a read loses nothing."""
    appender, reader = await open_log(nats_server, nats_client)
    for number in range(300):
        await appender.append(0, TRACES, bytes(10), 1, str(number))
    for after in (150, 0, 299, 20):
        [entry] = await reader.read(Mark(after), max_items=1, max_bytes=10**6, wait_seconds=1)
        assert entry.sequence == after + 1
    reading = asyncio.create_task(reader.read(Mark(21), max_items=10**6, max_bytes=10**9, wait_seconds=60))
    await asyncio.sleep(0.1)
    reading.cancel()
    rest = await reader.read(Mark(21), max_items=10**6, max_bytes=10**9, wait_seconds=0.1)
    assert [entry.sequence for entry in rest] == list(range(22, 301))


async def test_a_letter_is_buried_once(nats_server: NatsServer, nats_client: Client) -> None:
    """However often a successor repeats it; the reason travels along."""
    _, reader = await open_log(nats_server, nats_client)
    letter = DeadLetter(0, 7, TRACES, 1, "no such column\nin this table", b"body")
    await reader.bury(letter)
    await reader.bury(letter)
    js = nats_client.jetstream()
    assert (await js.stream_info("tael_dead")).state.messages == 1
    kept = await js.get_msg("tael_dead", seq=1)
    assert kept.data == b"body"
    assert (kept.headers or {})["Tael-Reason"] == "no such column in this table"
    assert (kept.headers or {})["Tael-Sequence"] == "7"


async def test_a_lazy_server_is_named(nats_client: Client, nats_server: NatsServer, tmp_path: Path) -> None:
    """Only `sync_interval: always` is taken as durable."""
    always = JetStreamStreams(nats_client, "tael", [nats_server.monitor_url], replicas=1, max_bytes=1 << 20)
    assert await always.lazy_sync() is None
    lazy = NatsServer(tmp_path / "lazy", sync="2m")
    lazy.start()
    try:
        warning = await JetStreamStreams(nats_client, "tael", [lazy.monitor_url], replicas=1, max_bytes=1 << 20).lazy_sync()
    finally:
        lazy.kill()
    assert warning is not None
    assert "sync_interval 120s" in warning


async def test_a_monitoring_url_that_is_not_http_is_unavailable(nats_client: Client, nats_server: NatsServer) -> None:
    """The port for clients is easily taken for the one for monitoring; the error names the host and no password."""
    url = f"http://{urlsplit(nats_server.url).netloc}"
    with pytest.raises(Unavailable, match="TAEL_NATS_MONITOR_URL"):
        await JetStreamStreams(nats_client, "tael", [url], replicas=1, max_bytes=1 << 20).lazy_sync()
    with pytest.raises(Unavailable, match="TAEL_NATS_MONITOR_URL") as refused:
        await JetStreamStreams(nats_client, "tael", ["http://monitor:secret@localhost"], replicas=1, max_bytes=1 << 20).lazy_sync()
    assert "NATS' monitoring at localhost (" in str(refused.value)
