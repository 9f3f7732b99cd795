"""Hours on their way from the hot tier to the bucket, against the real parts: whoever dies where, each row is in exactly one place."""

from __future__ import annotations

import hashlib
import io
import secrets
import time
from typing import Any

import pytest
from pyarrow import parquet

from services.compactor.setbacks import ATTEMPTS
from tael.cluster.manifests import cold_key
from tael.cold.files import ROLLED, ColdFile
from tael.cold.manifest import MOVING, ROLLING
from tael.cold.plan import Policy
from tael.errors import Fenced, Unavailable
from tael.model.retention import Retention, Tenants
from tael.model.signals import METRICS
from tael.model.time import HOUR_NS
from tael.storage.clickhouse.rolling import ClickHouseRolling
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.stored_rows import ClickHouseRows
from tael.storage.rolling import Pace
from tael.wal import codec
from tests.contract.test_metric_tables import batch
from tests.support.cold import Crash
from tests.support.cold_shard import ALL, FILLED, HOUR, Cold, cold, fill, finish
from tests.support.storage import of_service, wire_span

__all__ = ["cold"]


async def reads_as_documented(cold: Cold, file: ColdFile) -> None:
    """By a reader that is not ClickHouse: types, compression and indexes (docs/formats.md)."""
    body = io.BytesIO(await cold.objects.get(file.key))
    kinds = {field.name: str(field.type) for field in parquet.read_schema(body)}
    assert (kinds["start_time"], kinds["trace_id"], kinds["parent_span_id"]) == ("timestamp[ns, tz=UTC]", "fixed_size_binary[16]", "string")
    assert kinds["attributes_string"].startswith("map<string, string")
    rows = parquet.read_table(body, columns=["service", "parent_span_id"]).to_pylist()
    assert rows == [{"service": "shop", "parent_span_id": ""}] * 2
    ids = parquet.ParquetFile(body).metadata.row_group(0).column(4)
    assert (ids.path_in_schema, ids.compression, ids.has_column_index) == ("trace_id", "ZSTD", True)


async def test_every_table_goes_to_the_cold_tier(cold: Cold) -> None:
    """One file a tenant, with what the manifest says of it; nothing is left behind, and a second roll has nothing to do."""
    await fill(cold.tier)
    assert await cold.ledger() == FILLED
    assert await cold.roll() == 2 * len(ROLLED)
    assert await cold.ledger() == FILLED
    manifest = await cold.manifest()
    assert manifest.head.open == ()
    partitions = await cold.store().partitions()
    assert (partitions.hot, partitions.rolling) == ((), ())
    spans = {file.tenant: file for file in manifest.files("spans")}
    assert set(spans) == {"t1", "o'ther*"}
    of_t1 = spans["t1"]
    assert (of_t1.rows, of_t1.hour_ns, of_t1.min_service, of_t1.max_service) == (2, HOUR, "shop", "shop")
    assert HOUR <= of_t1.min_time_ns <= of_t1.max_time_ns < HOUR + HOUR_NS
    assert of_t1.bytes == len(await cold.objects.get(of_t1.key))
    assert manifest.files("series")[0].min_name is not None
    await reads_as_documented(cold, of_t1)
    [pack] = manifest.files("payloads")
    body = io.BytesIO(await cold.objects.get(pack.key))
    assert {field.name: str(field.type) for field in parquet.read_schema(body)}["content"] == "binary"
    [said] = parquet.read_table(body, columns=["hash", "offset", "size", "content"]).to_pylist()
    assert said == {"hash": hashlib.sha256(b"said").digest(), "offset": 0, "size": 4, "content": b"said"}
    assert await cold.roll() == 0


async def test_whoever_dies_where_the_next_one_goes_on(cold: Cold) -> None:
    """At each place once; rows that come late in between are neither lost nor doubled."""
    stored = 0
    for place in ("moving", "moved", "rolling", "exported", "committed", "dropped"):
        await cold.tier.store(of_service("shop", wire_span(stored), wire_span(stored + 1)))
        cold.crash_at = place
        with pytest.raises(Crash):
            await finish(await cold.roller())
        await cold.tier.store(of_service("shop", wire_span(stored + 2)))
        stored += 3
        if not (await cold.manifest()).moving(["spans"]):
            assert (await cold.ledger())["spans"] == stored
        cold.crash_at = ""
        await cold.roll()
        assert (await cold.ledger())["spans"] == stored
        assert (await cold.store().partitions()).rolling == ()


async def test_a_move_that_the_engine_did_not_end_is_made_again(cold: Cold) -> None:
    """The rows are in both tables, as after a kill of the engine: they count once."""
    await cold.tier.store(of_service("shop", wire_span(0), wire_span(1)))
    cold.crash_at = "moving"
    with pytest.raises(Crash):
        await finish(await cold.roller())
    spans = f"{cold.clickhouse.database}.spans"
    await cold.clickhouse.command(f"INSERT INTO {spans}_rolling SELECT * FROM {spans}")
    cold.crash_at = ""
    await cold.roll()
    assert (await cold.ledger())["spans"] == 2


async def test_a_move_that_was_cut_off_is_untangled_although_a_tenants_rows_have_gone_since(cold: Cold) -> None:
    """Its retention took them from the hot table alone: what the other tenant has is in both tables still, and counts once."""
    await cold.tier.store(of_service("shop", wire_span(0), wire_span(1)))
    await cold.tier.store(of_service("cart", wire_span(2)), tenant="short")
    cold.crash_at = "moving"
    with pytest.raises(Crash):
        await finish(await cold.roller())
    spans = f"{cold.clickhouse.database}.spans"
    await cold.clickhouse.command(f"INSERT INTO {spans}_rolling SELECT * FROM {spans}")
    [partition] = [one for one in await ClickHouseSchema(cold.clickhouse).list_partitions() if one.table == "spans"]
    await ClickHouseRows(cold.clickhouse).delete_rows(partition, Tenants(frozenset({"short"})))
    cold.crash_at = ""
    await cold.roll()
    assert sorted((file.tenant, file.rows) for file in (await cold.manifest()).files("spans")) == [("short", 1), ("t1", 2)]


async def test_a_span_that_is_sent_again_after_a_move_leaves_its_more_complete_copy(cold: Cold) -> None:
    """The move was complete and nobody had recorded it: copies that differ both stay, and readers choose; one that is equal counts once."""
    ids: dict[str, Any] = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    equal = wire_span(1)
    await cold.tier.store(of_service("shop", wire_span(0, status=2, attributes={"step": "a", "user.id": "u"}, **ids), equal))
    cold.crash_at = "moved"
    with pytest.raises(Crash):
        await finish(await cold.roller())
    assert [one.rows for one in (await cold.store().partitions()).rolling if one.table == "spans"] == [2]
    await cold.tier.store(of_service("shop", wire_span(0, attributes={"step": "a"}, **ids), equal))
    cold.crash_at = ""
    await cold.roll()
    files = (await cold.manifest()).files("spans")
    rows = [row for file in files for row in parquet.read_table(io.BytesIO(await cold.objects.get(file.key))).to_pylist()]
    assert sorted(row["status_code"] for row in rows if row["span_id"] == ids["span_id"]) == [0, 2]
    assert len(rows) == 3


async def test_a_zombie_commits_nothing(cold: Cold) -> None:
    """Whichever step it was at, its compare-and-set fails; what it wrote late is not what counts; nor may it move or drop."""
    await cold.tier.store(of_service("shop", wire_span(0)))
    zombie = await cold.roller()
    assert await zombie.step(ALL)
    await cold.roll()
    with pytest.raises(Fenced):
        await zombie.step(ALL)
    with pytest.raises(Fenced):
        await zombie.take()
    [file] = (await cold.manifest()).files("spans")
    assert file.generation > 2
    await cold.tier.store(of_service("shop", wire_span(1)))
    cold.fenced = True
    with pytest.raises(Fenced):
        await finish(await cold.roller())
    assert (await cold.manifest()).head.open[0].state == MOVING
    assert len((await cold.store().partitions()).hot) == 1
    cold.fenced = False
    await cold.roll()
    assert (await cold.ledger())["spans"] == 2


async def test_rows_that_nobody_knows_of_are_taken_up(cold: Cold) -> None:
    """As when an owner that slept moves an hour after it has lost its lease."""
    await cold.tier.store(of_service("shop", wire_span(0)))
    roller = await cold.roller()
    spans = f"{cold.clickhouse.database}.spans"
    await cold.clickhouse.command(f"ALTER TABLE {spans} MOVE PARTITION ID '{HOUR // 10**9}' TO TABLE {spans}_rolling")
    await finish(roller)
    assert (await cold.ledger())["spans"] == 1


async def test_late_rows_make_generations_that_are_merged(cold: Cold) -> None:
    """Samples of one series and time count once, the last written; unnamed files are deleted in the end."""
    for number in range(2):
        await cold.tier.store(of_service("shop", wire_span(number)), tenant="o'ther*")
        await cold.tier.writers[0].write(METRICS, codec.encode("t1", 1, batch().SerializeToString()), secrets.token_hex(8))
        await cold.roll()
    before = await cold.manifest()
    assert [len(before.files(table)) for table in ("spans", "samples")] == [2, 2]
    assert len({file.generation for file in before.files("spans")}) == 2
    roller = await cold.roller()
    await roller.load()
    while await roller.merge():
        pass
    after = await cold.manifest()
    assert [(file.rows, file.tenant) for file in after.files("spans")] == [(2, "o'ther*")]
    assert [file.rows for file in after.files("samples")] == [2]
    assert (await cold.ledger())["spans"] == 2
    assert await roller.sweep() > 0
    keys = set(await cold.objects.list("spans/"))
    assert not {file.key for file in before.files("spans")} & keys
    assert after.files("spans")[0].key in keys
    assert (await cold.ledger())["spans"] == 2
    assert [key for key in await cold.objects.list(f"_manifest/{cold.shard}/pages/") if key not in after.index.values()] == []


async def test_whoever_dies_in_a_merge_or_a_rollup_the_next_one_goes_on(cold: Cold) -> None:
    """At each place once: what is in files is there once, as it was, and what was written in vain is no file that counts. A zombie commits
    nothing.
    """

    async def write() -> None:
        await cold.tier.writers[0].write(METRICS, codec.encode("t1", 1, batch().SerializeToString()), secrets.token_hex(8))
        await cold.roll()

    async def keep_house() -> None:
        roller = await cold.roller()
        await roller.load()
        while await roller.merge() or await roller.roll_up(1 << 62):
            pass

    await write()
    await write()
    cold.crash_at = "merged"
    with pytest.raises(Crash):
        await keep_house()
    assert (await cold.ledger())["samples"] == 2 * FILLED["samples"]
    cold.crash_at = "rolled up"  # behind the merge, which the next owner makes
    with pytest.raises(Crash):
        await keep_house()
    assert [file.resolution for table in ("samples", "histograms") for file in (await cold.manifest()).files(table)] == [0, 0]
    assert (await cold.ledger())["samples"] == FILLED["samples"]
    zombie = await cold.roller()
    await zombie.load()
    cold.crash_at = "replaced"
    for resolutions in ({"histograms": 300, "samples": 0}, {"histograms": 300, "samples": 300}):
        with pytest.raises(Crash):
            await keep_house()
        assert {file.table: file.resolution for table in resolutions for file in (await cold.manifest()).files(table)} == resolutions
    cold.crash_at = ""
    before = await cold.manifest()
    with pytest.raises(Fenced):
        await zombie.roll_up(1 << 62)
    await keep_house()
    after = await cold.manifest()
    assert [after.files(table) for table in ("samples", "histograms")] == [before.files(table) for table in ("samples", "histograms")]
    written = [key for key in await cold.objects.list("histograms_5m/") if f"/{cold.shard}-" in key]
    assert after.files("histograms")[0].key in written
    assert len(written) == 3, "an owner that died and a zombie wrote one in vain"


async def test_files_are_retired_by_tenant_and_signal(cold: Cold) -> None:
    """By whole hours; what is kept stays. Payloads go with the longer of traces and logs."""
    await fill(cold.tier)
    await cold.roll()
    roller = await cold.roller()
    for_ever = 36_500.0
    every = {"traces": for_ever, "logs": for_ever, "metrics": for_ever}
    assert await roller.retire(Retention(every)) == 0
    days = (time.time_ns() - HOUR - HOUR_NS) / (24 * HOUR_NS)
    assert await roller.retire(Retention({**every, "logs": days - 0.01}, {"t1": {"traces": days - 0.01}})) == 3
    assert {table: count for table, count in (await cold.ledger()).items() if count != FILLED[table]} == {
        "spans": 1,
        "logs": 0,
        "payloads": 0,
    }
    assert await roller.sweep() > 0
    assert (await cold.ledger())["spans"] == 1


async def test_the_manifest_comes_back_from_the_bucket(cold: Cold) -> None:
    """With an hour half way: nothing is lost or doubled when the key-value store has lost everything."""
    await fill(cold.tier)
    cold.crash_at = "committed"
    with pytest.raises(Crash):
        await finish(await cold.roller())
    await cold.kv.delete(cold_key(cold.shard))
    with pytest.raises(Unavailable, match="its compactor restores it"):
        await cold.manifest()
    cold.crash_at, cold.epoch = "", 0
    await cold.roll()
    assert await cold.ledger() == FILLED


async def test_a_file_that_is_not_what_it_was_made_of_is_not_committed(cold: Cold) -> None:
    """Its rows stay where they are, to be read there, and it is written again."""

    class Damaging(ClickHouseRolling):
        async def export(self, file: ColdFile, pace: Pace) -> ColdFile:
            await super().export(file, pace)
            url = cold.bucket_url + file.key
            await self._clickhouse.command(
                f"INSERT INTO FUNCTION s3('{url}', 'Parquet') SELECT * FROM {cold.clickhouse.database}.spans_rolling LIMIT 1 SETTINGS s3_truncate_on_insert = 1"
            )
            return await self._read_back(file, await self._columns(file.table))

    await cold.tier.store(of_service("shop", wire_span(0), wire_span(1)))
    with pytest.raises(Unavailable, match="holds 1 rows"):
        await finish(await cold.roller(Damaging(cold.clickhouse, cold.bucket_url)))
    assert (await cold.ledger())["spans"] == 2
    assert (await cold.manifest()).files("spans") == []
    await cold.roll()
    assert (await cold.ledger())["spans"] == 2


async def test_an_hour_that_cannot_be_exported_holds_no_other_up(cold: Cold) -> None:
    """Its rows are read where they stand; when it can be exported again it is."""

    class Failing(ClickHouseRolling):
        fails = True

        async def export(self, file: ColdFile, pace: Pace) -> ColdFile:
            if self.fails and file.hour_ns == HOUR:
                raise Unavailable("a part is damaged")
            return await super().export(file, pace)

    store = Failing(cold.clickhouse, cold.bucket_url)
    await cold.tier.store(of_service("shop", wire_span(0), wire_span(HOUR_NS)))
    roller = await cold.roller(store)
    for _ in range(ATTEMPTS):
        with pytest.raises(Unavailable):
            await finish(roller)
    await finish(roller)
    await cold.tier.store(of_service("shop", wire_span(1)))
    await finish(roller)
    manifest = await cold.manifest()
    assert [(one.hour_ns, one.state) for one in manifest.head.open] == [(HOUR, ROLLING)]
    assert [file.hour_ns for file in manifest.files("spans")] == [HOUR + HOUR_NS]
    assert (await cold.ledger())["spans"] == 3
    store.fails = False
    await cold.roll()
    assert [(file.hour_ns, file.rows) for file in (await cold.manifest()).files("spans")] == [(HOUR, 1), (HOUR, 1), (HOUR + HOUR_NS, 1)]


async def test_a_page_that_is_gone_costs_its_day_alone(cold: Cold) -> None:
    """Files of other days are merged and retired, and its own stay as they are."""
    for number in range(2):
        await cold.tier.store(of_service("shop", wire_span(number), wire_span(number + 48 * HOUR_NS)))
        await cold.roll()
    manifest = await cold.manifest()
    lost, _ = sorted(manifest.index.items())
    body = await cold.objects.get(lost[1])
    await cold.objects.delete(lost[1])
    roller = await cold.roller()
    await roller.load()
    assert await roller.merge()
    assert not await roller.merge()
    await cold.objects.put(lost[1], body)
    assert [(file.hour_ns, file.rows) for file in (await cold.manifest()).files("spans")] == [
        (HOUR, 1),
        (HOUR, 1),
        (HOUR + 48 * HOUR_NS, 2),
    ]


async def test_a_policy_says_which_hours_leave(cold: Cold) -> None:
    """Those that ended before its time, and were quiet for its time."""
    await cold.tier.store(of_service("shop", wire_span(0)))
    roller = await cold.roller()
    assert not await roller.step(Policy(before_ns=HOUR + HOUR_NS - 1, quiet_ns=0))
    assert not await roller.step(Policy(before_ns=1 << 62, quiet_ns=3600 * 10**9))
    assert await roller.step(Policy(before_ns=HOUR + HOUR_NS, quiet_ns=0))
    assert (await cold.manifest()).head.open[0].state == ROLLING
    assert 0 < await cold.store().free_bytes() < 1 << 60


async def test_rows_that_share_a_resource_of_a_megabyte_are_rolled(cold: Cold) -> None:
    """They are small in the hot tier, where it is one value of a dictionary, and larger than the roll's memory as the values of a file."""
    shared = {f"attr.{index}": secrets.token_hex(25_000) for index in range(20)}
    await cold.tier.store(of_service("shop", *map(wire_span, range(2_000)), **shared))
    await cold.roll()
    [file] = (await cold.manifest()).files("spans")
    assert file.rows == await cold.rows_of(file) == 2_000
    await cold.tier.store(of_service("shop", wire_span(2_000), **shared))
    await cold.roll()
    roller = await cold.roller()
    await roller.load()
    while await roller.merge():
        pass
    [file] = (await cold.manifest()).files("spans")
    assert file.rows == 2_001
