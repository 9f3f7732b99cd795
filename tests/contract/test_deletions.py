"""Deletions over real tables: all that belongs to a trace, a user, a session or a tenant goes, and nothing else, whatever dies
in between.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from services.compactor import erase
from tael.cluster.deletions import FORGOTTEN_NS, Deletions, Kind, Progress
from tael.cluster.lease import Lease, writer_key
from tael.cluster.shard import SHARD_MAP_KEY, ShardMap
from tael.cold.files import ROLLED
from tael.errors import Rejected, Unavailable
from tael.model.signals import METRICS
from tael.model.streams import PUSHED_SCOPE
from tael.storage.clickhouse import erase as hot_erase
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.storage.clickhouse.schema import KEPT
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.storage.erase import Erasure
from tael.wal import codec
from tests.contract.test_cli import tael
from tests.contract.test_metric_tables import batch
from tests.contract.test_retention import rows_of
from tests.support.cold import Crash
from tests.support.cold_shard import Cold, cold
from tests.support.deleting import AGAIN, BEFORE_NS, LATER_NS, LEASE, OLD, OTHER, SHARD, Place, finish, hot_place, place
from tests.support.doubles import MemorySpans
from tests.support.query import serving
from tests.support.storage import RECEIVED_NS, logs_of, of_service, wire_log, wire_span

__all__ = ["cold", "hot_place", "place"]
HEX = {name: (trace_id.hex().upper()) for name, trace_id in (("old", OLD), ("other", OTHER), ("again", AGAIN))}
EVERY_LOG = ["in the trace", "later", "of nobody", "of the other", "of the user"]


async def _held(place: Place, tenant: str) -> dict[str, int]:
    """Rows of a tenant by table, wherever they are."""
    found = Counter(await rows_of(place.clickhouse, tenant))
    manifest = await place.cold.manifest()
    return dict(found + Counter({table: sum(file.rows for file in manifest.files(table, tenant)) for table in ROLLED}))


async def test_deleting_a_trace_deletes_its_logs_and_index(place: Place) -> None:
    """Nothing of another trace, nothing of another tenant."""
    await place.fill()
    await place.fill("t2")
    await finish(place, await place.ask("trace", OLD.hex()))
    spans, logs, index = await place.left()
    assert spans == ["again---", "later---", "other---"]
    assert logs == ["later", "of nobody", "of the other", "of the user"]
    assert index == [HEX["other"], HEX["again"]]
    assert (await _held(place, "t2"))["spans"] == 5


async def test_items_that_arrive_after_the_request_are_kept(place: Place) -> None:
    """With the index that says where it is."""
    await place.fill()
    await finish(place, await place.ask("trace", AGAIN.hex()))
    spans, logs, index = await place.left()
    assert spans == ["call----", "later---", "other---", "root----"]
    assert (logs, index) == (EVERY_LOG, [HEX["old"], HEX["other"], HEX["again"]])


@pytest.mark.parametrize(("kind", "value", "again"), [("user", "u1", []), ("session", "s1", ["again---"])])
async def test_deleting_a_user_or_session_deletes_its_traces(place: Place, kind: Kind, value: str, again: list[str]) -> None:
    """Whole, with records that name it elsewhere and with what suggestions remember."""
    await place.fill()
    key = "session.id" if kind == "session" else "user.id"
    remembered = f"SELECT DISTINCT pair.2 FROM db.span_attribute_keys ARRAY JOIN attribute_string_values AS pair WHERE pair.1 = '{key}'"
    assert value in await place.texts(remembered)
    await finish(place, await place.ask(kind, value))
    spans, logs, _ = await place.left()
    assert sorted(set(spans)) == sorted([*again, "later---", "other---"])
    assert sorted(set(logs)) == ["later", "of nobody", "of the other"]
    assert value not in await place.texts(remembered)


async def test_deleting_a_tenant_empties_its_part_of_every_table(place: Place) -> None:
    """And no other tenant."""
    for tenant in ("t1", "t2"):
        await place.fill(tenant)
        await ClickHouseWriter(place.clickhouse).write(METRICS, codec.encode(tenant, 1, batch().SerializeToString()), secrets.token_hex(8))
    await place.cold.roll()
    before = await _held(place, "t2")
    assert set(before) >= set(KEPT) - {"payloads", "payload_hours", "payload_references"}
    deletion = (await Deletions(place.kv).request("t1", "tenant", "t1", now_ns=time.time_ns() + 10**18, shards=1)).id
    await finish(place, deletion)
    assert await _held(place, "t1") == {}
    assert await _held(place, "t2") == before


class Dying(ClickHouseErase):
    """A store whose process dies with the nth statement that changes something."""

    def __init__(self, clickhouse: ClickHouse, after: int) -> None:
        super().__init__(clickhouse)
        self._after = after

    async def _mutate(self, statement: str, parameters: Mapping[str, Any]) -> None:
        self._after -= 1
        if self._after < 0:
            raise Unavailable("it died")
        await super()._mutate(statement, parameters)


async def test_streams_of_later_records_stay_wherever_these_are(place: Place) -> None:
    """Of one stream that goes on after the request, and of one that does not; counts and lists read them."""
    await place.write("t1", RECEIVED_NS, logs_of("shop", wire_log(0, "old")), logs_of("cart", wire_log(1, "old")))
    deletion = await place.ask("tenant", "t1")
    await place.write("t1", LATER_NS, logs_of("shop", wire_log(2, "new")))
    await place.cold.roll()
    await finish(place, deletion)
    assert (await place.left())[1] == ["new"]
    streams = await place.texts("SELECT DISTINCT toString(stream) FROM db.log_streams WHERE tenant = 't1'")
    assert streams == await place.cold_rows("logs", "toString(stream)")


async def test_pushed_streams_go_with_their_tenant_and_stay_with_later_records(place: Place) -> None:
    """Their ids are of all labels, in the table of streams as in the records and files that keep them."""

    def pushed(at: int, env: str) -> Any:
        group = logs_of("web", wire_log(at, env), app="web", env=env)
        group.scope_logs[0].scope.name = PUSHED_SCOPE
        return group

    await place.write("t1", RECEIVED_NS, pushed(0, "prod"), pushed(1, "dev"))
    deletion = await place.ask("tenant", "t1")
    await place.write("t1", LATER_NS, pushed(2, "prod"))
    await place.cold.roll()
    await finish(place, deletion)
    assert await place.texts("SELECT DISTINCT labels['env'] FROM db.log_streams WHERE tenant = 't1'") == ["prod"]
    streams = await place.texts("SELECT DISTINCT toString(stream) FROM db.log_streams WHERE tenant = 't1'")
    assert streams == await place.cold_rows("logs", "toString(stream)")


async def test_traces_with_later_spans_stay_in_the_index_wherever_these_are(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a tenant is deleted that goes on sending: a trace by its id is found by the index alone. However few traces a statement may
    name.
    """
    monkeypatch.setattr(hot_erase, "_ITEMS_AT_ONCE", 1)
    ids = [bytes([number]) * 16 for number in range(1, 6)]
    await place.write(
        "t1", RECEIVED_NS, of_service("shop", *(wire_span(at, trace_id=one, span_id=b"first---") for at, one in enumerate(ids)))
    )
    deletion = await place.ask("tenant", "t1")
    for trace_id in (ids[1], ids[4]):
        await place.write("t1", LATER_NS, of_service("shop", wire_span(7, trace_id=trace_id, span_id=b"again---")))
    await place.cold.roll()
    await place.write("t1", LATER_NS, of_service("shop", wire_span(8, trace_id=ids[2], span_id=b"again---")))
    await finish(place, deletion)
    assert (await place.left())[2] == [ids[at].hex().upper() for at in (1, 2, 4)]


async def test_a_deletion_is_finished_by_another_compactor_after_a_crash_at_any_statement(place: Place) -> None:
    """After each statement, by another compactor."""
    await place.fill()
    deletion = await place.ask("user", "u1")
    for after in range(3):
        await place.eraser(Dying(place.clickhouse, after)).work(SHARD, LEASE)
    await finish(place, deletion)
    spans, logs, index = await place.left()
    assert (spans, logs) == (["later---", "other---"], ["later", "of nobody", "of the other"])
    assert index == [HEX["other"], HEX["again"]]


async def test_a_file_that_cannot_be_read_is_named(cold: Cold) -> None:
    """A user's rows go out of all others; the deletion is not done until it can be read."""
    place = Place(cold.clickhouse, cold, "all")
    await place.fill()
    deletion = await place.ask("user", "u2")
    bad = (await cold.manifest()).files("spans")[0]
    body = await cold.objects.get(bad.key)
    await cold.objects.put(bad.key, b"no file at all")
    eraser = place.eraser()
    for _ in range(2):
        await eraser.work(SHARD, LEASE)
    assert await place.state(deletion) == ("running", f"files that cannot be read: {bad.key}")
    await cold.objects.put(bad.key, body)
    await finish(place, deletion)
    spans, _, _ = await place.left()
    assert "other---" not in spans


async def test_a_deletion_is_done_while_an_hour_is_stuck(cold: Cold, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace at a time, of which each has rows in files, in the rolling table and in the hot one."""
    monkeypatch.setattr(erase, "_TRACES_AT_ONCE", 1)
    place = Place(cold.clickhouse, cold, "first")
    await place.fill()
    await place.fill()
    await place.write("t1", RECEIVED_NS, of_service("bot", wire_span(7, trace_id=OLD, span_id=b"late----", attributes={"user.id": "u1"})))
    cold.crash_at = "rolling"
    with pytest.raises(Crash):
        await cold.roll()
    cold.crash_at = ""
    assert (await cold.manifest()).head.open
    await finish(place, await place.ask("user", "u1"))
    assert (await cold.manifest()).head.open
    await cold.roll()
    spans, logs, _ = await place.left()
    assert (set(spans), set(logs)) == ({"later---", "other---"}, {"later", "of nobody", "of the other"})


async def test_a_deletion_that_fails_costs_no_other(hot_place: Place) -> None:
    """It says why, and is tried again."""

    class Failing(ClickHouseErase):
        fails = True

        async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
            if self.fails and what.value == "u1":
                raise Rejected("the statement is refused")
            return await super().next_traces(what, limit)

    await hot_place.fill()
    first, second = [await hot_place.ask("user", user) for user in ("u1", "u2")]
    eraser = hot_place.eraser(store := Failing(hot_place.clickhouse))
    await finish(hot_place, second, eraser)
    assert await hot_place.state(first) == ("running", "it failed and is tried again: the statement is refused")
    store.fails = False
    await finish(hot_place, first)


async def test_it_is_not_done_before_the_wal_is_written(hot_place: Place) -> None:
    """What arrived before the request may be behind it in the WAL; nor while rows are between two tables."""
    place = hot_place
    place.last = 7
    deletion = await place.ask("trace", OLD.hex())
    await place.eraser().work(SHARD, LEASE)
    assert (await place.state(deletion))[0] == "running"
    assert "end at 7" in (await place.state(deletion))[1]
    await place.fill()
    place.last = 9
    await place.kv.put(writer_key(0), Lease(holder="w", epoch=1, committed=7).encode())
    place.cold.crash_at = "moved"
    with pytest.raises(Crash):
        await place.cold.roll()
    place.cold.crash_at = ""
    for _ in range(3):
        await place.eraser().work(SHARD, LEASE)
    state, reason = await place.state(deletion)
    assert (state, "on their way" in reason) == ("running", True)
    await place.cold.roll()
    assert (await place.left())[0] == ["again---", "later---", "other---"]
    await finish(place, deletion, place.eraser())


async def test_a_deletion_that_was_done_long_ago_is_forgotten(hot_place: Place) -> None:
    """With its progress; one that is still open is not."""
    deletions = Deletions(hot_place.kv)
    done, still = [await deletions.request("t1", "user", value, now_ns=BEFORE_NS, shards=1) for value in ("u1", "u2")]
    await deletions.record(done, 0, Progress(state="done", at_ns=BEFORE_NS))
    await deletions.record(still, 0, Progress(state="running", at_ns=BEFORE_NS))
    assert await deletions.forget(BEFORE_NS + FORGOTTEN_NS - 1) == 0
    assert await deletions.forget(BEFORE_NS + FORGOTTEN_NS) == 1
    assert await deletions.list() == [still]
    assert [found.key for found in await hot_place.kv.list("deletion.progress")] == [f"deletion.progress.{still.id}.0"]


async def test_deletions_are_asked_for_and_shown(hot_place: Place) -> None:
    """By the API and by the command; each tenant sees its own, and asks for its own."""
    place = hot_place
    await place.fill("default")
    await place.kv.put(SHARD_MAP_KEY, ShardMap(version=1, shards=(SHARD,)).encode())
    async with serving(MemorySpans(), kv=place.kv) as api:
        asked = (await tael("--server", api.url, "delete", "trace", OLD.hex(), "--yes")).json()
        assert (asked["state"], asked["kind"], asked["tenant"]) == ("waiting", "trace", "default")
        [listed] = (await api.json("/api/v1/deletions"))["deletions"]
        assert listed == asked
        for _ in range(3):
            await place.eraser().work(SHARD, LEASE)
        shown = await api.json(f"/api/v1/deletions/{asked['id']}")
        assert (shown["state"], shown["rows"], shown["shards"][0]["reason"]) == ("done", 4, None)
        table = await tael("--server", api.url, "deletions", "--format", "table")
        assert "done" in table.out, table.err
        assert OLD.hex() in table.out
        other = await api.get(f"/api/v1/deletions/{asked['id']}", headers={"X-Scope-OrgID": "shop"})
        assert other.status == 404
        assert (await api.get("/api/v1/deletions", headers={"X-Scope-OrgID": "shop"})).json() == {"deletions": []}
        for query, status in (("", 400), ("?user=a&session=b", 400), ("?trace=xyz", 400), ("?tenant=a/b", 400), ("?user=u9", 202)):
            async with api.session.post(f"{api.url}/api/v1/deletions{query}") as response:
                assert response.status == status, await response.text()
        async with api.session.post(f"{api.url}/api/v1/deletions?user=") as response:
            assert (await response.json())["error"].startswith("user: empty (accepted: ")
        async with api.session.post(f"{api.url}/api/v1/deletions", json={"user": "u9"}) as response:
            assert "in the URL, such as ?user=NAME" in (await response.json())["error"]
        async with api.session.post(f"{api.url}/api/v1/deletions?tenant=bank", headers={"X-Scope-OrgID": "shop"}) as response:
            assert response.status == 400
        refused = await tael("--server", api.url, "delete", "tenant", "default")
        assert refused.code == 1
        assert len((await api.json("/api/v1/deletions"))["deletions"]) == 2
