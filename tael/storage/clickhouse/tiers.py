"""A shard's rows over the hot table, the hours that are on their way out of it, and Parquet files; pure (docs/adr/0015).

Statements hold names of ours, keys of ours, and parameters. A question whose range is all in the hot table reads the statements of a shard without a cold tier. Of any other, each place is a branch of a
UNION ALL into which the engine pushes the conditions; files are named one by one, so that nothing is listed and no schema is guessed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from os.path import commonprefix
from typing import Final

from tael.cold.files import ROLLED, ROLLUP_FORMAT, ColdFile, day_of, overlap
from tael.cold.manifest import DROPPING, Head, Manifest, OpenHour
from tael.errors import TaelError, TooLarge
from tael.model.time import ALL_TIME, DAY_NS, HOUR_NS, NS_PER_SECOND, TimeRange
from tael.storage.clickhouse import parquet, rollup
from tael.storage.clickhouse.parquet import Columns
from tael.storage.clickhouse.source import HotTables, Places

MAX_FILES: Final = 4_000
"""Of one place in a statement: their keys are a part of its text."""
_WIDEST_NS: Final = MAX_FILES // 4 * HOUR_NS
"""Of a window, so that its statement has room for several files an hour."""
_LAST_HOUR_NS: Final = (1 << 32) * NS_PER_SECOND
_SUFFIX: Final = ".parquet"
_SHORTER: Final = "a shorter range, or, of metrics, a shorter TAEL_METRIC_RAW_DAYS, past which a day is one file"
_SETTINGS: Final = (
    # The path's tenant is escaped, and its date and hour are no columns of ours. A store that does not answer is soon given up.
    "SETTINGS use_hive_partitioning = 0, input_format_null_as_default = 1, s3_retry_attempts = 2, s3_connect_timeout_ms = 1000, s3_request_timeout_ms = 5000"
)


class PagesMissing(TaelError):
    """The manifest's pages of a table and range are needed: load them and ask again."""

    def __init__(self, table: str, time_range: TimeRange) -> None:
        super().__init__(f"the manifest's pages of {table}")
        self.table = table
        self.time_range = time_range


class HoursMoving(TaelError):
    """Rows of the range are between two tables just now: ask again when the manifest has changed."""


@dataclass
class Trail:
    """What the statements of a question were made from: tables with ranges, the keys of the files that they name, and of those left out."""

    asked: set[tuple[str, TimeRange]] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)

    def holds(self, now: Head, then: Head) -> bool:
        """Whether the places that were read are those of ``now`` still."""
        return now == then or all(now.unchanged_since(then, (table,), time_range) for table, time_range in self.asked)


class TieredTables:
    """See Source. ``columns`` are those of each hot table that has hours elsewhere, and ``unreadable`` keys of files to do without.

    Raises PagesMissing and HoursMoving, for who asks a question to ask it again; ``trail`` is what it has named so far.
    """

    def __init__(
        self,
        database: str,
        manifest: Manifest,
        columns: Mapping[str, Columns],
        bucket_url: str,
        unreadable: Collection[str] = frozenset(),
    ) -> None:
        self._hot = HotTables(database)
        self._manifest = manifest
        self._columns = columns
        self._bucket_url = bucket_url
        self._unreadable = unreadable
        self.trail = Trail()

    def words_indexed(self, table: str, time_range: TimeRange) -> bool:
        """See Source."""
        return _coldest_end(self._manifest.head, table) <= time_range.start_ns

    def elsewhere(self, table: str) -> bool:
        """See Source."""
        head = self._manifest.head
        return table in ROLLED and (head.has_cold(table) or any(one.table == table for one in head.open))

    def in_files(self, table: str, hours: Collection[int]) -> bool:
        """See Source."""
        return any(self._manifest.head.has_cold(table, stretch) for stretch in _stretches(hours))

    def places(self, table: str, tenant: str | None) -> Places:
        """See Source."""
        if table not in ROLLED:
            return Places()
        self.trail.asked.add((table, ALL_TIME))
        return self._place(table, tenant, ALL_TIME)

    def windows(self, table: str, time_range: TimeRange, *, oldest_first: bool = False) -> Sequence[TimeRange]:
        """See Source. What is hot is one piece, then come one hour, two, four, …, as far as a statement may; the oldest first the other way round.

        Months in which nothing is cold go with the piece behind them: one hour of 1970 is no question for each of them.
        """
        head = self._manifest.head
        first, end = _coldest_start(head, table), _coldest_end(head, table)
        if end <= time_range.start_ns or first >= time_range.end_ns:
            return (time_range,)
        bounds, step = [], HOUR_NS
        at, stop = (first, end) if oldest_first else (end, first)
        while at < stop if oldest_first else at > stop:
            bounds.append(at)
            at, step = at + step if oldest_first else at - step, min(2 * step, _WIDEST_NS)
        inside = sorted(bound for bound in (*bounds, *((end,) if oldest_first else ())) if time_range.start_ns < bound < time_range.end_ns)
        edges = [time_range.start_ns, *inside, time_range.end_ns]
        pieces = [TimeRange(start, until) for start, until in pairwise(edges)]
        hot, *cold = pieces[::-1]
        days = [day for _, day in self._manifest.days((table,), time_range)] if self._manifest.index else None
        opened = [one.hour_ns for one in head.open if one.table == table]
        cold = _joined(cold[::-1] if oldest_first else cold, None if days is None else sorted({*days, *map(day_of, opened)}))
        return [*cold, hot] if oldest_first else [hot, *cold]

    def rows(
        self,
        table: str,
        tenant: str,
        time_range: TimeRange = ALL_TIME,
        *,
        hours: Collection[int] | None = None,
        service: str = "",
        name: str = "",
    ) -> str:
        """See Source."""
        places = self._places(table, tenant, time_range, hours, service, name)
        hot = self._hot.rows(table, tenant)
        if places == Places():
            return hot
        columns = self._listed(table)
        branches = [f"SELECT {columns} FROM {hot}"]  # noqa: S608  # see above
        if places.rolling:
            branches.append(f"SELECT {columns} FROM {hot}_rolling WHERE {_partitions(places.rolling)}")  # noqa: S608  # see above
        if places.files:
            branches.append(f"SELECT {columns} FROM ({self._cold(table, places.files)})")  # noqa: S608  # see above
        return f"({_union(branches)})"

    def merged(self, table: str, where: object, tenant: str, time_range: TimeRange = ALL_TIME) -> str:
        """See Source. What the hot table has of a key counts before what is rolling, and that before files, of which the latest generation does.

        Keys that came late are few: they are looked up for the hours that are elsewhere, of which the hot table has no partition as a rule.
        """
        places = self._places(table, tenant, time_range, None, "", "")
        if places == Places():
            return self._hot.merged(table, where, tenant, time_range)
        return self._merged(table, where, places)

    def rollups_until(self, table: str, tenant: str, time_range: TimeRange) -> int:
        """See Source."""
        places = self._places(table, tenant, time_range, None, "", "")
        return max((file.end_ns for file in places.files if file.resolution), default=0)

    def with_rollups(self, table: str, where: object, tenant: str, time_range: TimeRange) -> str:
        """See Source. A sample that came behind a rollup never hides a row of it, which stands for more than itself."""
        places = self._places(table, tenant, time_range, None, "", "")
        if not any(file.resolution for file in places.files):
            return f"(SELECT *, {rollup.none(table)} FROM {self.merged(table, where, tenant, time_range)})"  # noqa: S608  # see above
        return self._merged(table, where, places, rollup.BESIDE[table])

    def _merged(self, table: str, where: object, places: Places, beside: Columns = ()) -> str:
        hot = self._hot.rows(table, "")
        columns, order = self._listed(table), ROLLED[table].order
        key = f"({', '.join(order)})"
        none, own = (f", {rollup.none(table)}", f", {rollup.listed(beside)}") if beside else ("", "")
        rollups = beside and table == "samples"  # a row of histograms is one that came, and a later one of its time replaces it
        hours = [str(hour // NS_PER_SECOND) for hour in sorted(places.hours)]
        # Without FINAL: it is asked whether a key is there, not which of its rows counts.
        later = [f"SELECT {key} FROM {hot} PREWHERE {where} WHERE _partition_id IN ({_quoted(hours)})"]  # noqa: S608  # see above
        branches = [f"SELECT {columns}{none} FROM {hot} FINAL PREWHERE {where}"]  # noqa: S608  # see above
        if places.rolling:
            rolling = f"FROM {hot}_rolling FINAL PREWHERE {where} WHERE {_partitions(places.rolling)}"
            branches.append(f"SELECT {columns}{none} {rolling} AND {key} NOT IN ({later[0]})")  # see above
            later.append(f"SELECT {key} {rolling}")
        if places.files:
            # Only hours that several files cover can have a key twice; the others are spared the sort.
            several = overlap(places.files)
            also = own
            also += ", toUInt64OrZero(extract(_file, '-(\\\\d+)[.]')) AS generation" if several else ""
            cold = self._cold(table, places.files, also=also, more=beside)
            apart = f", {rollup.IS_ROLLUP}" if rollups else ""
            once = f" ORDER BY generation DESC LIMIT 1 BY {', '.join(order)}{apart}" if several else ""
            shown = f"{key} NOT IN ({_union(later)})"
            shown = f"({rollup.IS_ROLLUP} OR {shown})" if rollups else shown
            branches.append(f"SELECT {columns}{own} FROM ({cold}) WHERE ({where}) AND {shown}{once}")  # noqa: S608  # see above
        return f"({_union(branches)})"

    def _places(self, table: str, tenant: str, time_range: TimeRange, hours: Collection[int] | None, service: str, name: str) -> Places:
        if table not in ROLLED:
            return Places()
        ranges = [_unbounded(time_range)] if hours is None else _stretches(hours)
        self.trail.asked.update((table, one) for one in ranges)
        found = [self._place(table, tenant, one) for one in ranges]
        rolling = dict.fromkeys(hour for place in found for hour in place.rolling)
        files = {file.key: file for place in found for file in place.files if file.may_have(service=service or None, name=name or None)}
        wanted = [file for file in files.values() if hours is None or any(hour_ns in hours for hour_ns in file.each_hour)]
        # A file of a later format is named as missing: columns that nobody here knows would be read as if they were not there.
        readable = [file for file in wanted if file.key not in self._unreadable and file.format <= ROLLUP_FORMAT]
        self.trail.left_out.update({file.key for file in wanted} - {file.key for file in readable})
        return Places(tuple(rolling), tuple(readable))

    def _place(self, table: str, tenant: str | None, time_range: TimeRange) -> Places:
        manifest = self._manifest
        if manifest.moving((table,), time_range):
            raise HoursMoving(f"rows of {table} are moving")
        rolling = manifest.rolling(table, time_range)
        if not manifest.head.has_cold(table, time_range):
            return Places(rolling)
        if not manifest.index or manifest.missing_pages((table,), time_range):
            raise PagesMissing(table, time_range)
        return Places(rolling, tuple(manifest.files(table, tenant, time_range)))

    def _cold(self, table: str, files: Sequence[ColdFile], *, also: str = "", more: Columns = ()) -> str:
        """The rows of these files, as a SELECT to be put in brackets: at the end of a UNION its settings would be ignored."""
        # Refused rather than cut: with some of the files the answer would be wrong without a sign of it.
        if len(files) > MAX_FILES:
            raise TooLarge(f"the range has {len(files)} files", where="time range", accepted=f"{MAX_FILES} files at once: {_SHORTER}")
        self.trail.opened.update(file.key for file in files)
        return cold_rows(self._bucket_url, files, self._columns[table], also=also, more=more)

    def _listed(self, table: str) -> str:
        return ", ".join(f"`{name}`" for name, _ in self._columns[table])


def cold_rows(bucket_url: str, files: Sequence[ColdFile], columns: Columns, *, also: str = "", more: Columns = ()) -> str:
    """The rows of files of one table, as a SELECT to be put in brackets."""
    url = bucket_url + _keys([file.key for file in files])
    structure = parquet.structure([*columns, *more])
    return f"SELECT {parquet.read(files[0].table, columns)}{also} FROM s3('{url}', 'Parquet', {structure}) {_SETTINGS}"  # noqa: S608  # see above


def _coldest_end(head: Head, table: str) -> int:
    """The end of the last hour of the table that is not all in the hot table, or the beginning of time."""
    last = [one.hour_ns for one in head.open if one.table == table]
    last += [head.cold[table][1]] if table in head.cold else []
    return max(last) + HOUR_NS if last else ALL_TIME.start_ns


def _coldest_start(head: Head, table: str) -> int:
    first = [one.hour_ns for one in head.open if one.table == table and one.state != DROPPING]
    first += [head.cold[table][0]] if table in head.cold else []
    return min(first) if first else ALL_TIME.end_ns


def _joined(pieces: Sequence[TimeRange], days: Sequence[int] | None) -> list[TimeRange]:
    """Neighbouring pieces, in either order, such that each but the last touches one of the days (their starts, sorted); as they are where those are unknown."""
    if days is None:
        return list(pieces)
    found: list[TimeRange] = []
    empty = False
    for piece in pieces:
        at = bisect_right(days, piece.end_ns - 1) - 1
        holds = at >= 0 and days[at] + DAY_NS > piece.start_ns
        if empty:
            last = found.pop()
            piece = TimeRange(min(last.start_ns, piece.start_ns), max(last.end_ns, piece.end_ns))  # noqa: PLW2901  # the same, and what is before it
        found.append(piece)
        empty = not holds
    return found


def _unbounded(time_range: TimeRange) -> TimeRange:
    """Bounds that statements do not use (conditions.py) are none here either."""
    start = time_range.start_ns if 0 < time_range.start_ns < _LAST_HOUR_NS else ALL_TIME.start_ns
    return TimeRange(start, time_range.end_ns if 0 < time_range.end_ns < _LAST_HOUR_NS else ALL_TIME.end_ns)


def _stretches(hours: Collection[int]) -> list[TimeRange]:
    """Hours as ranges, those that follow each other as one."""
    found: list[TimeRange] = []
    for hour in sorted(hours):
        if found and found[-1].end_ns == hour:
            found[-1] = TimeRange(found[-1].start_ns, hour + HOUR_NS)
        else:
            found.append(TimeRange(hour, hour + HOUR_NS))
    return found


def _keys(keys: Sequence[str]) -> str:
    """Keys as one path: what differs stands in braces, which the engine takes for a list and not for a pattern to be listed."""
    if len(keys) == 1:
        return keys[0]
    prefix = commonprefix(list(keys))  # noqa: RUF071  # of characters: they are put together again
    return f"{prefix}{{{','.join(key[len(prefix) :].removesuffix(_SUFFIX) for key in keys)}}}{_SUFFIX}"


def _partitions(hours: Sequence[OpenHour]) -> str:
    return f"_partition_id IN ({_quoted([hour.partition_id for hour in hours])})"


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)


def _union(branches: Sequence[str]) -> str:
    return "\n  UNION ALL ".join(branches)
