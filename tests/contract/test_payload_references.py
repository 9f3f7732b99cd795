"""The index of what refers to payloads: what it knows counts, and what it does not know is left alone."""

from __future__ import annotations

import pytest

from tael.model.signals import PAYLOADS
from tael.storage.clickhouse.stored import index_references
from tests.support.collecting import Place, hash_of
from tests.support.collecting_places import ASKED, ONE, OTHER, SYSTEM, THREE, TWO, hot_place, place

__all__ = ["hot_place", "place"]


async def test_a_reference_to_a_missing_payload_does_not_count(hot_place: Place) -> None:
    """Until somebody posts it; one whose digits are too few never is."""
    place, text = hot_place, "later " * 100
    await place.say(ONE, f"tael.payload:sha256:{hash_of(text).hex()}:600 lat", "tael.payload:sha256:00:5 none")
    await place.write()
    collector = place.collector()
    await place.collect(collector)
    assert await place.readable(text) == [False]
    await place.post(text)
    await place.write()
    for _ in range(4):
        await place.collect(collector, hours=30)
    assert await place.readable(text) == [True]
    assert (await place.rows(text))["payload_hours"] == 1


async def test_payloads_from_before_the_index_are_left_to_retention(place: Place) -> None:
    """What else refers to it is not known, although it was sent again since."""
    await place.index_since(place.hour_ns)
    place.restart()
    await place.say(THREE, SYSTEM, "new " * 2_000)
    await place.write()
    deletion = await place.delete("trace", THREE.hex())
    for _ in range(3):
        await place.collect(hours=30)
    assert await place.readable(SYSTEM, ASKED, OTHER, "new " * 2_000) == [True, True, True, True]
    await place.erase()
    assert await place.is_done(deletion)


async def test_nothing_of_a_new_shard_is_left_alone(hot_place: Place) -> None:
    """Its index has everything from the first row on, also of hours that began before it, wherever they are by then."""
    place = hot_place
    await place.index_since(place.now_ns)
    await place.migrate_again()
    await place.collect()
    await place.say(ONE, SYSTEM, ASKED)
    await place.say(TWO, SYSTEM)
    await place.write()
    await place.cold.roll()
    deletion = await place.delete("trace", ONE.hex())
    await place.collect(hours=3)
    assert await place.readable(SYSTEM, ASKED) == [True, False]
    await place.erase()
    assert await place.is_done(deletion)


@pytest.mark.parametrize("rows", ["hot", "cold"])
async def test_a_shard_that_had_rows_before_its_index_leaves_them_alone(hot_place: Place, rows: str) -> None:
    """In its tables when the index came; or in the bucket, when it lost its disk: what they refer to is not known."""
    place = hot_place
    await place.say(ONE, SYSTEM)
    await place.write()
    await place.index_since(place.now_ns)
    if rows == "cold":
        await place.cold.roll()
        await place.lose_the_disks()
    await place.migrate_again()
    await place.collect()
    place.restart()
    await place.say(TWO, SYSTEM)
    await place.write()
    await place.delete("trace", TWO.hex())
    for _ in range(3):
        await place.collect(hours=30)
    assert await place.readable(SYSTEM) == [True]


async def test_rows_whose_views_were_not_fed_are_indexed(hot_place: Place) -> None:
    """As of an insert for which the server has too little memory: what is there is not written again."""
    place, [clickhouse] = hot_place, hot_place.tier.clickhouses
    await place.say(ONE, SYSTEM)
    await place.log_loose(ASKED, "u1")
    bodies = [(signal, body) for _, signal, body, _ in place.log.appended if signal != PAYLOADS]
    await place.write()
    sql = f"SELECT hex(hash), hour, hex(item), received_at FROM {clickhouse.database}.payload_references FINAL ORDER BY ALL"
    before = await clickhouse.query(sql, {})
    assert len(before) == 4
    where = "item != toFixedString('', 16) SETTINGS mutations_sync = 2"
    await clickhouse.command(f"ALTER TABLE {clickhouse.database}.payload_references DELETE WHERE {where}")
    for signal, body in bodies:
        statement = index_references(clickhouse.database, signal, body)
        assert statement is not None
        await clickhouse.command(statement.sql, statement.parameters)
    assert await clickhouse.query(sql, {}) == before
