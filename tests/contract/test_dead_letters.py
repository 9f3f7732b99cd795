"""What the hot tier refused for good: kept with its reason, seen by its admin, and stored after all once the cause is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.client import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.errors import Unavailable
from tael.model.signals import LOGS, TRACES
from tael.model.time import ALL_TIME
from tael.storage.api import SpanQuery
from tael.wal import codec
from tael.wal.api import DeadLetter
from tael.wal.dead_letters import JetStreamDeadLetters
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.read import JetStreamReader
from tests.contract.test_cli import tael
from tests.support.dead_letters import MemoryLetters
from tests.support.doubles import MemorySpans
from tests.support.hotnode import HotNode
from tests.support.nats import NatsServer
from tests.support.otlp import MemoryLog
from tests.support.query import serving
from tests.support.storage import of_service, open_tier, wire_span
from tests.support.writing import open_cluster, writing

LETTERS = "/api/v1/admin/deadletters"


def body_of(tenant: str, *names: str) -> bytes:
    spans = [wire_span(name=name) for name in names]
    return codec.encode(tenant, 5, ExportTraceServiceRequest(resource_spans=[of_service("shop", *spans)]).SerializeToString())


def letter(sequence: int = 7, tenant: str = "red") -> DeadLetter:
    return DeadLetter(0, sequence, TRACES, 1, "cannot take it", body_of(tenant, "bad"))


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while not await check():  # noqa: ASYNC110  # another process has to get there
            await asyncio.sleep(0.05)


async def test_letters_are_listed_in_order_read_whole_and_dropped(nats_server: NatsServer, nats_client: Client) -> None:
    await open_cluster(nats_server, nats_client, 64 << 20)
    letters, reader = JetStreamDeadLetters(nats_client, "tael"), JetStreamReader(nats_client, "tael", 0)
    assert await letters.list(0, 10) == []
    written = [letter(sequence) for sequence in (7, 8, 9)]
    for one in written:
        await reader.bury(one)
        await reader.bury(one)
    found = await letters.list(0, 10)
    assert [buried.letter for buried in found] == written
    assert [buried.letter_id for buried in found] == [1, 2, 3]
    assert all(1.7e18 < buried.buried_at_ns < 3e18 for buried in found)
    assert list(await letters.list(1, 1)) == [found[1]]
    await letters.drop(2)
    await letters.drop(2)
    assert [buried.letter_id for buried in await letters.list(0, 10)] == [1, 3]
    assert await letters.get(2) is None
    assert await letters.get(3) == found[2]


async def test_the_list_has_item_reason_and_tenant_and_continues_at_its_cursor() -> None:
    letters = MemoryLetters(letter(), replace(letter(8), signal=LOGS, shard=3, body=b""), letter(9, "blue"))
    async with serving(MemorySpans(), letters=letters) as api:
        answer = await api.json(LETTERS, limit=2)
        first, second = answer["letters"]
        assert {**first, "age_seconds": 0, "bytes": 0} == {
            "id": 1,
            "tenant": "red",
            "signal": "traces",
            "items": 1,
            "bytes": 0,
            "reason": "cannot take it",
            "shard": 0,
            "sequence": 7,
            "age_seconds": 0,
        }
        assert (second["signal"], second["shard"], second["tenant"]) == ("logs", 3, "")
        assert answer["next"] == 2
        rest = await api.json(LETTERS, after=2)
        assert [one["tenant"] for one in rest["letters"]] == ["blue"]
        assert rest["next"] is None
        assert [one["id"] for one in (await api.json(LETTERS, signal="logs", shard=3))["letters"]] == [2]


async def test_a_letter_is_shown_with_its_body_decoded() -> None:
    async with serving(MemorySpans(), letters=MemoryLetters(letter())) as api:
        shown = await api.json(f"{LETTERS}/1")
        (record,) = shown["records"]
        assert (record["tenant"], record["received_at_ns"]) == ("red", "5")
        assert record["request"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] == "bad"


@pytest.mark.parametrize(
    ("path", "status"), [("/2", 404), ("/x", 400), ("/-1", 400), ("?limit=0", 400), ("?after=x", 400), ("?odd=1", 400)]
)
async def test_unknown_and_malformed_ids_are_refused(path: str, status: int) -> None:
    async with serving(MemorySpans(), letters=MemoryLetters(letter())) as api:
        assert (await api.get(LETTERS + path)).status == status


async def test_an_admin_of_one_tenant_sees_and_touches_its_letters_alone(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("red-token-0123456789 red admin\nall-token-0123456789 * admin\nqry-token-0123456789 red query\n")
    letters, log = MemoryLetters(letter(7, "red"), letter(8, "blue")), MemoryLog()
    async with serving(MemorySpans(), letters=letters, appender=log, TAEL_TOKENS_FILE=str(tmp_path / "tokens")) as api:

        async def seen(token: str, **headers: str) -> list[int]:
            answer = await api.get(LETTERS, headers={"Authorization": f"Bearer {token}-token-0123456789", **headers})
            assert answer.status == 200
            return [one["id"] for one in answer.json()["letters"]]

        assert await seen("red") == [1]
        assert await seen("all") == [1, 2]
        assert await seen("all", **{"X-Scope-OrgID": "blue"}) == [2]
        red = {"Authorization": "Bearer red-token-0123456789"}
        for method, path in (("GET", "/2"), ("POST", "/2/replay"), ("DELETE", "/2")):
            async with api.session.request(method, f"{api.url}{LETTERS}{path}", headers=red) as answer:
                assert answer.status == 404
        assert (await api.get(LETTERS, headers={"Authorization": "Bearer qry-token-0123456789"})).status == 403
        assert (list(letters.buried), log.appended) == ([1, 2], [])


async def test_a_letter_is_kept_if_its_replay_fails() -> None:
    letters, log = MemoryLetters(letter()), MemoryLog(error=Unavailable("away"))
    async with serving(MemorySpans(), letters=letters, appender=log) as api, api.session.post(f"{api.url}{LETTERS}/1/replay") as answer:
        assert answer.status == 503
        assert list(letters.buried) == [1]


async def test_a_poisoned_span_is_buried_listed_and_stored_after_all_once_the_cause_is_gone(
    nats_server: NatsServer, nats_client: Client, shared_hot_node: HotNode
) -> None:
    """Through the command, against a real log, writer and hot tier: a column that cannot take one name is the poison."""
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    appender, letters = JetStreamAppender(nats_client, "tael"), JetStreamDeadLetters(nats_client, "tael")
    async with (
        open_tier([shared_hot_node]) as tier,
        serving(tier.reader, tier, letters=letters, appender=appender) as api,
        writing(nats_client, kv, tier.writers[0]),
    ):
        clickhouse = tier.clickhouses[0]
        spans = f"{clickhouse.database}.spans"

        async def stored(*names: str) -> bool:
            answer = await tier.reader.find_spans("red", SpanQuery(ALL_TIME))
            return sorted(span.name for span in answer.value) == sorted(names)

        await clickhouse.command(f"ALTER TABLE {spans} ADD COLUMN poisoned UInt8 MATERIALIZED toUInt8(if(name = 'bad', 'x', '1'))")
        await appender.append(0, TRACES, body_of("red", "good", "bad", "fine"), 3, "one")
        await until(lambda: stored("good", "fine"))
        server = ("--server", api.url, "deadletter")
        (buried,) = json.loads((await tael(*server, "list")).out)["letters"]
        assert (buried["tenant"], buried["signal"], buried["items"]) == ("red", "traces", 1)
        assert "UInt8" in buried["reason"]
        shown = await tael(*server, "show", str(buried["id"]), "--format", "table")
        assert '"name": "bad"' in shown.out

        await clickhouse.command(f"ALTER TABLE {spans} DROP COLUMN poisoned")
        replayed = await tael(*server, "replay", str(buried["id"]))
        assert json.loads(replayed.out)["letters"][0]["replayed"] is True
        await until(lambda: stored("good", "fine", "bad"))
        assert await letters.list(0, 10) == []
        gone = await tael(*server, "drop", str(buried["id"]))
        assert (gone.code, "was not found" in gone.err) == (1, True)
