"""The cold tier's manifest: what transitions do and refuse, what a reader may conclude from two heads, and that encoding loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from tael.cold import transitions as m
from tael.cold.files import ColdFile, day_of
from tael.cold.manifest import DROPPING, RECENT, ROLLING, Head, Manifest, Trash
from tael.cold.pages import decode_index, decode_page, decode_trash, encode_page
from tael.cold.transitions import Change
from tael.errors import Damaged, Fenced, Rejected
from tael.model.time import DAY_NS, HOUR_NS, TimeRange
from tests.support.cold_files import HOUR, NOW, a_file, opened, rolled


def on_their_way(table: str) -> list[Manifest]:
    """The manifests of an hour with a file, while late rows of it are moving, rolling and dropping."""
    moving = m.begin_move(rolled(Manifest(Head(0)), table, HOUR, "t"), table, HOUR, 1).manifest
    rolling = m.moved(moving, table, HOUR, 1).manifest
    file = a_file(table, hour_ns=HOUR, tenant="u", generation=opened(rolling, table).generation)
    return [moving, rolling, m.committed(rolling, table, HOUR, [file], 1, NOW).manifest]


def rollup_of(manifest: Manifest) -> tuple[ColdFile, ColdFile]:
    """The first file of samples, and a rollup of it."""
    raw = manifest.files("samples")[0]
    return raw, replace(raw, generation=manifest.revision + 1, resolution=300, format=2)


def reread(change: Change) -> Manifest:
    """The manifest as read from only the head and the objects, with all pages loaded."""
    head = Head.decode("cold.0", change.manifest.head.encode())
    index = decode_index(head.index, change.objects[head.index])
    return Manifest(head, index, {day: decode_page(key, change.objects[key]) for day, key in index.items()})


def test_an_hour_goes_from_hot_to_cold() -> None:
    """At every step a reader can tell where its rows are, or that it must wait."""
    manifest = m.taken(Manifest(Head(0)), 3).manifest
    manifest = m.begin_move(manifest, "spans", HOUR, 3).manifest
    assert [one.hour_ns for one in manifest.moving(["spans", "logs"], TimeRange(HOUR, HOUR + 1))] == [HOUR]
    assert not manifest.moving(["spans"], TimeRange(HOUR + HOUR_NS, NOW))
    assert not manifest.moving(["logs"])
    manifest = m.moved(manifest, "spans", HOUR, 3).manifest
    assert not manifest.moving(["spans"])
    assert [one.partition_id for one in manifest.rolling("spans")] == [str(HOUR // 10**9)]
    assert opened(manifest).generation == 2
    change = m.committed(manifest, "spans", HOUR, [a_file(tenant=tenant, generation=2) for tenant in "ab"], 3, NOW)
    assert reread(change) == change.manifest
    manifest = change.manifest
    assert opened(manifest).state == DROPPING
    assert not manifest.rolling("spans")
    assert [file.tenant for file in manifest.files("spans", time_range=TimeRange(HOUR, NOW))] == ["a", "b"]
    assert [file.tenant for file in manifest.files("spans", "b")] == ["b"]
    assert manifest.files("spans", "b", TimeRange(HOUR + HOUR_NS, NOW)) == []
    manifest = m.dropped(manifest, "spans", HOUR, 3).manifest
    assert manifest.head.open == ()
    assert opened(m.begin_move(manifest, "spans", HOUR, 3).manifest).generation == 6


def test_impossible_steps_are_refused() -> None:
    """Each step requires the state before it, and an hour of a table that is rolled."""
    empty = Manifest(Head(0))
    moving = m.begin_move(empty, "spans", HOUR, 1).manifest
    rolling = m.moved(moving, "spans", HOUR, 1).manifest
    steps: list[Callable[[], Change]] = [
        lambda: m.begin_move(moving, "spans", HOUR, 1),
        lambda: m.begin_move(empty, "red", HOUR, 1),
        lambda: m.begin_move(empty, "spans", HOUR + 1, 1),
        lambda: m.moved(empty, "spans", HOUR, 1),
        lambda: m.moved(rolling, "spans", HOUR, 1),
        lambda: m.unmoved(rolling, "spans", HOUR, 1),
        lambda: m.committed(moving, "spans", HOUR, [a_file()], 1, NOW),
        lambda: m.committed(rolling, "spans", HOUR, [a_file(generation=2)], 1, NOW),
        lambda: m.committed(rolling, "spans", HOUR, [a_file(generation=1), a_file(generation=1, rows=11)], 1, NOW),
        lambda: m.committed(rolling, "spans", HOUR, [a_file(generation=1, shard=1)], 1, NOW),
        lambda: m.dropped(rolling, "spans", HOUR, 1),
        lambda: m.merged(rolling, "spans", HOUR, [a_file()], 1, NOW),
        lambda: m.merged(rolling, "spans", HOUR, [], 1, NOW),
        *(partial(m.merged, one, "spans", HOUR, [a_file(generation=one.revision + 1)], 1, NOW) for one in on_their_way("spans")),
        *(partial(m.rolled_up, one, *rollup_of(one), 1, NOW) for one in on_their_way("samples")),
    ]
    for refused in steps:
        with pytest.raises(Rejected):
            refused()


def test_an_older_epoch_changes_nothing() -> None:
    """Every transition refuses it."""
    manifest = m.taken(m.begin_move(Manifest(Head(0)), "spans", HOUR, 1).manifest, 2).manifest
    full = rolled(Manifest(Head(0, epoch=2)), "spans", HOUR, "t", epoch=2)
    steps: list[Callable[[], Change | None]] = [
        lambda: m.taken(manifest, 1),
        lambda: m.begin_move(manifest, "logs", HOUR, 1),
        lambda: m.moved(manifest, "spans", HOUR, 1),
        lambda: m.retired(full, lambda _: True, 1, NOW),
        lambda: m.merged(full, "spans", HOUR, [a_file(generation=9)], 1, NOW),
        lambda: m.swept(full, Trash(0, ""), 1),
    ]
    for fenced in steps:
        with pytest.raises(Fenced):
            fenced()


def test_a_new_owner_writes_other_files_than_the_one_before() -> None:
    """The previous owner may still be writing; its files are deleted later."""
    manifest = m.moved(m.begin_move(Manifest(Head(0)), "spans", HOUR, 1).manifest, "spans", HOUR, 1).manifest
    manifest = m.taken(m.taken(manifest, 2).manifest, 3).manifest
    assert (opened(manifest).generation, opened(manifest).abandoned, opened(manifest).state) == (4, (1, 3), ROLLING)
    with pytest.raises(Rejected):
        m.committed(manifest, "spans", HOUR, [a_file(generation=3)], 3, NOW)
    change = m.committed(manifest, "spans", HOUR, [a_file(generation=4)], 3, NOW)
    [trash] = change.manifest.head.trash
    assert decode_trash(trash.key, change.objects[trash.key]) == [a_file(generation=1).key, a_file(generation=3).key]


def test_generations_are_merged_into_one_file() -> None:
    """A tenant's files are replaced by one of a larger generation; others stay; nothing is deleted before the grace period."""
    manifest = rolled(rolled(Manifest(Head(0)), "spans", HOUR, "a", "b"), "spans", HOUR, "a")
    assert [(file.tenant, file.generation) for file in manifest.files("spans")] == [("a", 1), ("b", 1), ("a", 5)]
    with pytest.raises(Rejected):
        m.merged(manifest, "spans", HOUR, [a_file(tenant="a", generation=5)], 1, NOW)
    with pytest.raises(Rejected):
        m.merged(manifest, "spans", HOUR, [a_file(tenant="c", generation=9)], 1, NOW)
    change = m.merged(manifest, "spans", HOUR, [a_file(tenant="a", generation=9)], 1, NOW)
    assert [(file.tenant, file.generation) for file in reread(change).files("spans")] == [("b", 1), ("a", 9)]
    trash = change.manifest.head.trash[-1]
    keys = decode_trash(trash.key, change.objects[trash.key])
    assert {a_file(tenant="a", generation=1).key, a_file(tenant="a", generation=5).key} <= set(keys)
    assert not {file.key for file in change.manifest.files("spans")} & set(keys)
    assert trash not in m.swept(change.manifest, trash, 1).manifest.head.trash


def test_files_of_several_hours_are_swapped_at_once() -> None:
    """A day takes one page and one index; files without remaining rows are removed, and swaps that do not fit are refused."""
    manifest = rolled(rolled(Manifest(Head(0)), "spans", HOUR, "a", "b"), "spans", HOUR, "a")
    manifest = rolled(rolled(manifest, "spans", HOUR + HOUR_NS, "a"), "spans", HOUR + 48 * HOUR_NS, "a")
    first, second, third = (
        tuple(manifest.files("spans", "a", TimeRange(at, at + HOUR_NS))) for at in (HOUR, HOUR + HOUR_NS, HOUR + 48 * HOUR_NS)
    )
    left = a_file(tenant="a", generation=manifest.revision + 1)
    swaps = [m.Swap(first, left), m.Swap(second, None), m.Swap(third, replace(third[0], generation=left.generation))]
    change = m.rewritten(manifest, swaps, 1, NOW, unnamed=["spans/orphan"])
    after = reread(change)
    assert [(file.tenant, file.hour_ns, file.generation) for file in after.files("spans")] == [
        ("b", HOUR, 1),
        ("a", HOUR, left.generation),
        ("a", HOUR + 48 * HOUR_NS, left.generation),
    ]
    assert sum("/index/" in key for key in change.objects) == 1
    assert sum("/pages/" in key for key in change.objects) == 2
    assert {one.hour_ns for one in after.head.recent if one.revision == after.revision} == {HOUR, HOUR + HOUR_NS, HOUR + 48 * HOUR_NS}
    trash = change.manifest.head.trash[-1]
    gone = set(decode_trash(trash.key, change.objects[trash.key]))
    assert {"spans/orphan", *(file.key for file in (*first, *second, *third))} <= gone
    wrong = [
        m.Swap(first, replace(left, generation=left.generation + 1)),
        m.Swap(first, replace(left, tenant="b")),
        m.Swap((*first, *second), left),
        m.Swap((a_file(tenant="a", generation=99),), left),
    ]
    for swap in wrong:
        with pytest.raises(Rejected):
            m.rewritten(manifest, [swap], 1, NOW)
    with pytest.raises(Rejected):
        m.rewritten(m.begin_move(manifest, "spans", HOUR, 1).manifest, swaps, 1, NOW)


def test_the_files_of_a_day_are_in_one_order() -> None:
    """By hour and generation, whichever hour was first, for the owner as for readers."""
    manifest = Manifest(Head(0))
    for hour_ns in (HOUR + 2 * HOUR_NS, HOUR, HOUR + HOUR_NS, HOUR):
        manifest = rolled(manifest, "spans", hour_ns, "b", "a")
    change = m.merged(manifest, "spans", HOUR, [a_file(tenant="b", generation=manifest.revision + 1)], 1, NOW)
    expected = [(0, "a"), (0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a"), (2, "b")]
    for one in (change.manifest, reread(change)):
        assert [((file.hour_ns - HOUR) // HOUR_NS, file.tenant) for file in one.files("spans")] == expected


def test_a_rollup_takes_the_place_of_a_file() -> None:
    """Of the only one of its tenant and hour. It is never merged with later files, and releases that do not know rollups can read only
    pages without them.
    """
    manifest = rolled(Manifest(Head(0)), "samples", HOUR, "a", "b")
    raw = a_file("samples", "a", generation=1)
    rollup = replace(raw, generation=5, resolution=300, format=2, rows=1)
    for wrong in (replace(rollup, generation=4), replace(rollup, tenant="b"), replace(rollup, resolution=0)):
        with pytest.raises(Rejected):
            m.rolled_up(manifest, raw, wrong, 1, NOW)
    change = m.rolled_up(manifest, raw, rollup, 1, NOW)
    assert reread(change).files("samples") == [a_file("samples", "b", generation=1), rollup]
    trash = change.manifest.head.trash[-1]
    assert raw.key in decode_trash(trash.key, change.objects[trash.key])
    assert rollup.key.startswith("samples_5m/tenant=a/date=")
    late = rolled(change.manifest, "samples", HOUR, "a")
    with pytest.raises(Rejected):
        m.rolled_up(late, late.files("samples")[-1], replace(rollup, generation=late.revision + 1), 1, NOW)
    again = rolled(late, "samples", HOUR, "a")
    merged = m.merged(again, "samples", HOUR, [a_file("samples", "a", generation=again.revision + 1)], 1, NOW)
    assert [file.resolution for file in merged.manifest.files("samples", "a")] == [300, 0]


def test_a_day_takes_the_place_of_its_files() -> None:
    """Of one tenant, of one kind, and at rest; later files stay beside it and are not merged with it."""
    day = day_of(HOUR)
    manifest = Manifest(Head(0))
    for hour in (3, 5, 23):
        manifest = rolled(manifest, "series", day + hour * HOUR_NS, "a", "b")
    several = manifest.files("series", "a")
    whole = replace(a_file("series", "a", day, manifest.revision + 1), hours=24, rows=30)
    wrong = (replace(whole, generation=1), replace(whole, hours=1), replace(whole, tenant="b"), replace(whole, hour_ns=day + HOUR_NS))
    for one in wrong:
        with pytest.raises(Rejected):
            m.gathered(manifest, several, one, 1, NOW)
    with pytest.raises(Rejected):
        m.gathered(m.begin_move(manifest, "series", day, 1).manifest, several, replace(whole, generation=manifest.revision + 2), 1, NOW)
    with pytest.raises(Rejected):
        m.gathered(manifest, several[:1], whole, 1, NOW)
    before = manifest.head
    change = m.gathered(manifest, several, whole, 1, NOW)
    after = reread(change)
    assert after.files("series", "a") == [whole]
    assert whole.key == f"series_day/tenant=a/date=2024-10-04/0-{whole.generation}.parquet"
    assert after.hour_files("series", day + 5 * HOUR_NS) == [whole, manifest.files("series", "b")[1]]
    assert after.head.cold["series"] == (day, day + 23 * HOUR_NS)
    assert not after.head.unchanged_since(before, ["series"], TimeRange(day + 3 * HOUR_NS, day + 4 * HOUR_NS))
    trash = after.head.trash[-1]
    assert {file.key for file in several} <= set(decode_trash(trash.key, change.objects[trash.key]))
    late = rolled(after, "series", day + 5 * HOUR_NS, "a")
    with pytest.raises(Rejected):
        m.merged(late, "series", day + 7 * HOUR_NS, [a_file("series", "a", day + 7 * HOUR_NS, late.revision + 1)], 1, NOW)
    again = replace(whole, generation=late.revision + 1)
    assert m.gathered(late, late.files("series", "a"), again, 1, NOW).manifest.files("series", "a") == [again]


def test_files_are_retired_by_a_predicate() -> None:
    """Files for which it is true; the head's bounds follow, and a table without files has none."""
    manifest = Manifest(Head(0))
    for day in range(3):
        manifest = rolled(manifest, "spans", HOUR + day * DAY_NS, "a", "b")
    assert manifest.head.cold == {"spans": (HOUR, HOUR + 2 * DAY_NS)}
    change = m.retired(manifest, lambda file: file.tenant == "a" or file.hour_ns == HOUR, 1, NOW)
    assert change is not None
    assert [(file.tenant, file.hour_ns) for file in reread(change).files("spans")] == [("b", HOUR + day * DAY_NS) for day in (1, 2)]
    assert change.manifest.head.cold == {"spans": (HOUR + DAY_NS, HOUR + 2 * DAY_NS)}
    assert m.retired(change.manifest, lambda file: file.tenant == "a", 1, NOW) is None
    nothing = m.retired(change.manifest, lambda _: True, 1, NOW)
    assert nothing is not None
    assert (nothing.manifest.head.cold, nothing.manifest.index) == ({}, {})
    assert not nothing.manifest.head.has_cold("spans")


def test_a_reader_of_any_hour_sees_that_its_day_was_retired() -> None:
    """It would otherwise answer with rows of a file that nothing names any more."""
    day = day_of(HOUR)
    manifest = Manifest(Head(0))
    for hour in (3, 5):
        manifest = rolled(manifest, "series", day + hour * HOUR_NS, "a")
    whole = replace(a_file("series", "a", day, manifest.revision + 1), hours=24, rows=20)
    manifest = m.gathered(manifest, manifest.files("series", "a"), whole, 1, NOW).manifest
    change = m.retired(manifest, lambda file: file == whole, 1, NOW)
    assert change is not None
    assert not change.manifest.head.unchanged_since(manifest.head, ["series"], TimeRange(day + 5 * HOUR_NS, day + 6 * HOUR_NS))


def test_a_reader_sees_whether_its_hours_changed() -> None:
    """Changes of other hours and other tables do not matter; forgotten changes do."""
    first = rolled(Manifest(Head(0)), "spans", HOUR, "a")
    before = first.head
    manifest = m.begin_move(first, "logs", HOUR + DAY_NS, 1).manifest
    mine = TimeRange(HOUR, HOUR + HOUR_NS)
    assert before.unchanged_since(before, ["spans"], mine)
    assert manifest.head.unchanged_since(before, ["spans", "logs"], mine)
    assert manifest.head.unchanged_since(before, ["spans"])
    assert not manifest.head.unchanged_since(before, ["spans", "logs"])
    assert not before.unchanged_since(manifest.head, ["spans"], mine)
    for hour in range(1, RECENT):
        manifest = rolled(manifest, "samples", HOUR + hour * HOUR_NS, "a")
    assert not manifest.head.unchanged_since(before, ["spans"], mine)
    unloaded = m.moved(m.begin_move(Manifest(before), "spans", HOUR, 1).manifest, "spans", HOUR, 1).manifest
    with pytest.raises(LookupError):
        m.committed(unloaded, "spans", HOUR, [], 1, NOW)


def test_what_is_damaged_says_so() -> None:
    """A head, an index, a page and a list of keys."""
    for decode in (Head.decode, decode_index, decode_page, decode_trash):
        for body in (b"", b"{}x", b"[1]", encode_page([])[:-9]):
            with pytest.raises(Damaged, match="the key"):
                decode("the key", body)


def test_services_and_names_choose_files() -> None:
    """Bounds are compared as the engine compares strings."""
    file = a_file(min_service="b", max_service="d", min_name="", max_name="\uffff")
    assert file.may_have(service="b", name="x")
    assert file.may_have()
    assert not file.may_have(service="a")
    assert not file.may_have(service="da")
    assert not file.may_have(name="\U0001f600")
    assert a_file().may_have(service="a", name="b")
