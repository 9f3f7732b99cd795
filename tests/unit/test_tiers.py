"""The places of rows by a manifest: only the hot table if it has all of them, and each row in exactly one place."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tael.cold.files import FORMAT, ROLLUP_FORMAT, ColdFile, day_of
from tael.cold.manifest import DROPPING, MOVING, ROLLING, Head, Manifest, OpenHour, State
from tael.errors import TooLarge
from tael.model.time import ALL_TIME, DAY_NS, HOUR_NS, TimeRange
from tael.storage.clickhouse.tiers import HoursMoving, PagesMissing, TieredTables, Trail

HOUR = 1_789_999_200_000_000_000
DAY = day_of(HOUR)
COLUMNS = {
    table: [("tenant", "LowCardinality(String)"), (time, "DateTime64(9, 'UTC')")]
    for table, time in (("spans", "start_time"), ("samples", "ts"))
}


def a_file(hour: int, table: str = "spans", generation: int = 0, tenant: str = "t1", service: str = "shop", form: int = FORMAT) -> ColdFile:
    start = HOUR + hour * HOUR_NS
    return ColdFile(table, tenant, 0, start, generation, 1, 1, "", start, start + HOUR_NS - 1, service, service, "a", "b", form)


def tiers(
    *files: ColdFile, states: dict[int, State] | None = None, loaded: bool = True, unreadable: frozenset[str] = frozenset()
) -> TieredTables:
    """The tiers of a shard with these files, and with hours of spans in these states."""
    pages: dict[tuple[str, int], tuple[ColdFile, ...]] = {}
    for file in files:
        day = (file.table, day_of(file.hour_ns))
        pages[day] = (*pages.get(day, ()), file)
    cold = {
        table: (min(hours), max(hours))
        for table in {file.table for file in files}
        if (hours := [file.hour_ns for file in files if file.table == table])
    }
    opened = tuple(OpenHour("spans", HOUR + hour * HOUR_NS, 1, state, 1) for hour, state in (states or {}).items())
    head = Head(0, 7, 1, "index" if files else "", opened, (), cold)
    manifest = Manifest(head, dict.fromkeys(pages, "page"), pages if loaded else {})
    return TieredTables("tael", manifest, COLUMNS, "http://s3/tael/", unreadable)


def hours(first: int, end: int) -> TimeRange:
    return TimeRange(HOUR + first * HOUR_NS, HOUR + end * HOUR_NS)


def test_hot_rows_are_read_from_the_table_itself() -> None:
    """Later hours, other tables, and shards that never rolled anything: just the table's name."""
    for source, table, time_range in (
        (tiers(), "spans", ALL_TIME),
        (tiers(a_file(0)), "spans", hours(1, 9)),
        (tiers(a_file(0)), "logs", ALL_TIME),
        (tiers(a_file(0)), "trace_index", ALL_TIME),
        (tiers(a_file(0, tenant="t2")), "spans", ALL_TIME),
        (tiers(a_file(0, service="cart")), "spans", ALL_TIME),
        (tiers(states={0: DROPPING}), "spans", ALL_TIME),
    ):
        assert source.rows(table, "t1", time_range, service="shop") == f"tael.{table}"
    assert tiers(a_file(0)).merged("samples", "x", "t1") == "tael.samples FINAL\nPREWHERE x"
    assert tiers(a_file(0)).in_table("logs", hours(1, 2))


def test_the_places_of_an_old_range() -> None:
    """Files by their exact keys, and of the rolling table only the hours that are rolling."""
    text = tiers(a_file(0), a_file(1), a_file(1, generation=3), a_file(30), states={2: ROLLING, 3: DROPPING}).rows(
        "spans", "t1", hours(0, 9)
    )
    hot, rolling, cold = text.removeprefix("(").split("\n  UNION ALL ")
    assert hot == "SELECT `tenant`, `start_time` FROM tael.spans"
    assert rolling == f"SELECT `tenant`, `start_time` FROM tael.spans_rolling WHERE _partition_id IN ('{HOUR // 10**9 + 7200}')"
    assert "s3('http://s3/tael/spans/tenant=t1/date=2026-09-21/hour=1{4/0-0,5/0-0,5/0-3}.parquet', 'Parquet'," in cold


def test_only_columns_that_a_statement_uses_are_read() -> None:
    """Those that its SQL mentions, by themselves or by a part of them; some, where it mentions none."""
    source = tiers(a_file(0), states={2: ROLLING})
    for used, columns in (
        ("toHour(start_time)", ["start_time"]),
        ("start_time.size0 = 1 AND tenants", ["start_time"]),
        ("count()", ["tenant", "start_time"]),
        ("", ["tenant", "start_time"]),
    ):
        listed = ", ".join(f"`{name}`" for name in columns)
        hot, rolling, cold = source.rows("spans", "t1", hours(0, 9), used=used).split("\n  UNION ALL ")
        assert hot == f"(SELECT {listed} FROM tael.spans"
        assert rolling.startswith(f"SELECT {listed} FROM tael.spans_rolling ")
        assert cold.startswith(f"SELECT {listed} FROM (SELECT {listed} FROM s3(")
        each = source.each("spans", "t1", used, hours={HOUR, HOUR + 2 * HOUR_NS})
        assert [one.in_files for one in each] == [False, False, True]
        assert [one.sql for one in each] == ["tael.spans", f"({rolling})", f"({cold}"]


def test_a_generation_that_begins_like_another() -> None:
    """No alternative between braces is empty: the engine would take them as they stand."""
    for generations, text in (((2, 23), "{2,23}"), ((2, 23, 231), "{2,23,231}"), ((23, 24), "2{3,4}")):
        assert f"/0-{text}.parquet'" in tiers(*(a_file(0, generation=number) for number in generations)).rows("spans", "t1")


def test_hours_narrow_what_is_opened() -> None:
    """A trace of the first and the last hour opens two of three files; no hours open none."""
    source = tiers(a_file(0), a_file(1), a_file(2))
    assert "{4/0-0,6/0-0}" in source.rows("spans", "t1", hours={HOUR, HOUR + 2 * HOUR_NS})
    assert source.rows("spans", "t1", hours=set()) == "tael.spans"
    assert source.trail.asked == {("spans", hours(0, 1)), ("spans", hours(2, 3))}


def test_reads_wait_for_a_move_and_load_needed_pages() -> None:
    """Reads wait for a move and load a page if the range touches them."""
    moving = tiers(states={0: MOVING})
    with pytest.raises(HoursMoving):
        moving.rows("spans", "t1", hours(0, 1))
    assert moving.rows("spans", "t1", hours(1, 2)) == "tael.spans"
    with pytest.raises(PagesMissing) as missing:
        tiers(a_file(0), loaded=False).rows("spans", "t1", hours(0, 1))
    assert missing.value.table == "spans"


def test_files_that_are_done_without() -> None:
    """Unreadable files and files of a later format are left out and reported."""
    bad, later = a_file(0), a_file(1, form=ROLLUP_FORMAT + 1)
    source = tiers(bad, later, a_file(2), unreadable=frozenset({bad.key}))
    assert "hour=16/0-0.parquet'" in source.rows("spans", "t1")
    assert source.trail.left_out == {bad.key, later.key}
    assert source.trail.opened == {a_file(2).key}


def test_of_rows_with_one_key_the_latest_is_left() -> None:
    """By place, and by generation if an hour has several files."""
    one = tiers(a_file(0, "samples"), a_file(1, "samples")).merged("samples", "metric = 1", "t1")
    assert "(tenant, metric, series, ts) NOT IN (SELECT" in one
    assert "LIMIT 1 BY" not in one
    two = tiers(a_file(0, "samples"), a_file(0, "samples", 5)).merged("samples", "metric = 1", "t1")
    assert "ORDER BY generation DESC LIMIT 1 BY tenant, metric, series, ts" in two


def test_a_snapshot_is_valid_until_its_hours_change() -> None:
    """Changes of other hours and tables do not matter."""
    source = tiers(a_file(0))
    source.rows("spans", "t1", hours(0, 1))
    then = source._manifest.head  # what it was made from
    assert source.trail.holds(then, then)
    assert Trail().holds(replace(then, revision=9), then)


@given(st.integers(-30, 60), st.integers(0, 60), st.lists(st.integers(0, 40), max_size=4), st.booleans())
def test_windows_are_the_range(first: int, length: int, cold: list[int], oldest_first: bool) -> None:
    """Without gaps, in order, with the hot part in one piece."""
    source, asked = tiers(*(a_file(hour) for hour in set(cold))), hours(first, first + length)
    windows = list(source.windows("spans", asked, oldest_first=oldest_first))
    in_time = windows if oldest_first else windows[::-1]
    assert (in_time[0].start_ns, in_time[-1].end_ns) == (asked.start_ns, asked.end_ns)
    assert all(one.end_ns == two.start_ns for one, two in pairwise(in_time))
    if cold:
        hot_from = HOUR + (max(cold) + 1) * HOUR_NS
        assert sum(window.end_ns > hot_from for window in windows) <= 1


@pytest.mark.parametrize("oldest_first", [False, True])
def test_years_without_a_file_are_no_windows(oldest_first: bool) -> None:
    """With a record of 1970 and one of now, each gets a window and the time between none; time without loaded pages is searched."""
    files = [a_file(0), a_file(-HOUR // HOUR_NS)]
    known, unknown = tiers(*files), tiers(*files)
    unknown._manifest = replace(unknown._manifest, index={})
    windows = known.windows("spans", ALL_TIME, oldest_first=oldest_first)
    assert len(windows) <= 8
    assert sum("hour=14/" in known.rows("spans", "t1", window) for window in windows) == 1
    assert sum("date=1970-01-01" in known.rows("spans", "t1", window) for window in windows) == 1
    assert len(unknown.windows("spans", ALL_TIME, oldest_first=oldest_first)) > 400


def test_a_year() -> None:
    """As files of hours it is refused with advice, and searched in allowed windows; as files of days it takes one statement."""
    year = hours(-8_760, 0)
    of_hours = tiers(*(a_file(-hour, "spans", hour) for hour in range(1, 8_761)))
    with pytest.raises(TooLarge, match=r"8760 files.*a shorter range, or, of metrics, a shorter TAEL_METRIC_RAW_DAYS"):
        of_hours.rows("spans", "t1", year)
    assert all("s3(" in of_hours.rows("spans", "t1", window) for window in of_hours.windows("spans", year))
    start = day_of(HOUR)
    days = [
        replace(a_file(0, "samples", day), hour_ns=start - day * DAY_NS, hours=24, resolution=300, min_time_ns=start - day * DAY_NS)
        for day in range(1, 366)
    ]
    source = tiers(*days)
    text = source.with_rollups("samples", "x", "t1", year)
    assert len(source.trail.opened) == 365
    assert "LIMIT 1 BY" not in text, "no two of them hold an hour"
    assert source.rollups_until("samples", "t1", year) == start
    late = tiers(*days, a_file(-40, "samples", 900))
    assert "LIMIT 1 BY" in late.with_rollups("samples", "x", "t1", year)
