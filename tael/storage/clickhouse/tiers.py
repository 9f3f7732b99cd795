"""A shard's rows over the hot table, hours on their way out of it, and Parquet files; pure (docs/adr/0015).

Statements contain only names and keys of ours, and parameters. A question whose range is entirely in the hot table gets the same statements
as without a cold tier. For others, each place is a branch of a UNION ALL into which the engine pushes the conditions; files are named one
by one, so that the engine lists no bucket and guesses no schema.
"""

from __future__ import annotations

import re
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
from tael.storage.clickhouse import pack_words, parquet, rollup
from tael.storage.clickhouse.pack_words import Branch, Held
from tael.storage.clickhouse.parquet import Columns
from tael.storage.clickhouse.source import HotTables, Places, Rows

MAX_FILES: Final = 4_000
"""The most files of one place in a statement, whose text contains their keys."""
_WIDEST_NS: Final = MAX_FILES // 4 * HOUR_NS
"""The longest window, such that its statement has room for several files an hour."""
_GROWTH: Final = 4
_LAST_HOUR_NS: Final = (1 << 32) * NS_PER_SECOND
_SUFFIX: Final = ".parquet"
_SHORTER: Final = "a shorter range, or, of metrics, a shorter TAEL_METRIC_RAW_DAYS, past which a day is one file"
_BRANCHES: Final = 24
"""Up to so many cold hours of payloads are read as one branch each."""
_SETTINGS: Final = (
    # No hive partitioning: the tenant in a path is escaped, and date and hour are not our columns. No prefetch: it would be the first
    # megabyte of each file, before its footer says what is needed. A store that does not answer is given up after some
    # ten seconds: each of two reads has two attempts, the first of which is short.
    "SETTINGS use_hive_partitioning = 0, input_format_null_as_default = 1, remote_filesystem_read_prefetch = 0, "
    "s3_retry_attempts = 1, s3_max_single_read_retries = 2, s3_connect_timeout_ms = 1000, s3_request_timeout_ms = 5000"
)


class PagesMissing(TaelError):
    """The manifest's pages of a table and range are needed: load them and repeat the question."""

    def __init__(self, table: str, time_range: TimeRange) -> None:
        super().__init__(f"the manifest's pages of {table}")
        self.table = table
        self.time_range = time_range


class HoursMoving(TaelError):
    """Rows of the range are being moved between two tables: repeat the question when the manifest has changed."""


@dataclass
class Trail:
    """What the statements of a question read: tables with ranges, and the keys of files that were opened or left out."""

    asked: set[tuple[str, TimeRange]] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)

    def holds(self, now: Head, then: Head) -> bool:
        """Whether the places that were read are still the same in ``now``."""
        return now == then or all(now.unchanged_since(then, (table,), time_range) for table, time_range in self.asked)


class TieredTables:
    """See Source. ``columns`` are those of each hot table with hours elsewhere, ``unreadable`` keys of files to leave out.

    Raises PagesMissing and HoursMoving, after which the question is repeated; ``trail`` records what was read so far.
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

    def in_table(self, table: str, time_range: TimeRange) -> bool:
        """See Source."""
        return _coldest_end(self._manifest.head, table) <= time_range.start_ns

    def elsewhere(self, table: str) -> bool:
        """See Source."""
        head = self._manifest.head
        return table in ROLLED and (head.has_cold(table) or any(one.table == table for one in head.open))

    def places(self, table: str, tenant: str | None) -> Places:
        """See Source."""
        if table not in ROLLED:
            return Places()
        self.trail.asked.add((table, ALL_TIME))
        return self._place(table, tenant, ALL_TIME)

    def windows(self, table: str, time_range: TimeRange, *, oldest_first: bool = False) -> Sequence[TimeRange]:
        """See Source. The hot part is one piece; cold pieces have 1 hour, 4, 16, …, up to the longest window. With ``oldest_first`` they
        begin at the oldest hour. A statement over files costs as much as reading five to ten of them, so pieces grow faster than by
        doubling.

        Stretches without cold hours are joined to a neighbouring piece, so that one hour of 1970 does not cost a statement for every month
        since.
        """
        head = self._manifest.head
        first, end = _coldest_start(head, table), _coldest_end(head, table)
        if end <= time_range.start_ns or first >= time_range.end_ns:
            return (time_range,)
        bounds, step = [], HOUR_NS
        at, stop = (first, end) if oldest_first else (end, first)
        while at < stop if oldest_first else at > stop:
            bounds.append(at)
            at, step = at + step if oldest_first else at - step, min(_GROWTH * step, _WIDEST_NS)
        inside = sorted(bound for bound in (*bounds, *((end,) if oldest_first else ())) if time_range.start_ns < bound < time_range.end_ns)
        edges = [time_range.start_ns, *inside, time_range.end_ns]
        pieces = [TimeRange(start, until) for start, until in pairwise(edges)]
        # Pieces ascend, and the newest one begins where the cold hours end: it is the hot one.
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
        used: str = "",
    ) -> str:
        """See Source."""
        places = self._places(table, tenant, time_range, hours, service, name)
        groups = _by_hour(places.files) if table == "payloads" else [places.files] if places.files else []
        return self._rows(table, places, [*map(Branch, groups)], used)

    def each(self, table: str, tenant: str, used: str, *, hours: Collection[int]) -> Sequence[Rows]:
        """See Source."""
        places = self._places(table, tenant, ALL_TIME, hours, "", "")
        columns = _used(self._columns.get(table, ()), used)
        return self._each(table, places, [Branch(places.files)] if places.files else [], columns)

    def packs(self, tenant: str, time_range: TimeRange) -> tuple[Sequence[ColdFile], str, bool]:
        """See Source. Words that cannot be read are not missed in the answer, because their pack is read instead."""
        files = self._places("payloads", tenant, time_range, None, "", "").files
        packs = [file for file in files if file.words and file.words_key not in self._unreadable][:MAX_FILES]
        # With the packs, so that a store that does not answer is not asked for them after it was asked for their words.
        self.trail.opened.update(key for file in packs for key in file.keys)
        if not packs:
            return (), "", not files
        url = self._bucket_url + _keys([file.words_key for file in packs], ".words")
        objects = f"SELECT _path, word, parts FROM s3('{url}', 'Parquet', {pack_words.STRUCTURE}) {_SETTINGS}"  # noqa: S608  # see above
        return packs, objects, len(packs) == len(files)

    def payloads(self, tenant: str, time_range: TimeRange, held: Held, words: Sequence[str]) -> str:
        """See Source."""
        places = self._places("payloads", tenant, time_range, None, "", "")
        whole, some = held.split(places.files, words, _BRANCHES)
        return self._rows("payloads", places, [*map(Branch, _by_hour(whole)), *some])

    def _rows(self, table: str, places: Places, cold: Sequence[Branch], used: str = "") -> str:
        columns = _used(self._columns.get(table, ()), used)
        hot, *others = self._each(table, places, cold, columns)
        return f"({_union([f'SELECT {_listed(columns)} FROM {hot.sql}', *(one.sql[1:-1] for one in others)])})" if others else hot.sql  # noqa: S608  # see above

    def _each(self, table: str, places: Places, cold: Sequence[Branch], columns: Columns) -> list[Rows]:
        """The hot table, and the other places as a SELECT of the columns in parentheses."""
        listed, found = _listed(columns), [Rows(self._hot.rows(table, ""))]
        if places.rolling:
            rolling = f"SELECT {listed} FROM {found[0].sql}_rolling WHERE {_partitions(places.rolling)}"  # noqa: S608  # see above
            found.append(Rows(f"({rolling})"))
        for branch in cold:
            where = f" WHERE {branch.condition}" if branch.ranges else ""
            # Two levels: conditions that meet the one over the file fail in the engine, or find nothing, for constants and odd texts.
            found.append(Rows(f"(SELECT {listed} FROM ({self._cold(branch.files, columns)}){where})", in_files=True))  # noqa: S608  # see above
        return found

    def merged(self, table: str, where: object, tenant: str, time_range: TimeRange = ALL_TIME) -> str:
        """See Source. Of rows with the same key, the hot table's counts before the rolling table's, and that before files', of which the
        latest generation's counts.

        Late rows are few: their keys are looked up only in the hot partitions of hours that are elsewhere, which usually do not exist.
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
        """See Source. A late sample never hides a row of a rollup, because that row stands for other samples as well."""
        places = self._places(table, tenant, time_range, None, "", "")
        if not any(file.resolution for file in places.files):
            return f"(SELECT *, {rollup.none(table)} FROM {self.merged(table, where, tenant, time_range)})"  # noqa: S608  # see above
        return self._merged(table, where, places, rollup.BESIDE[table])

    def _merged(self, table: str, where: object, places: Places, beside: Columns = ()) -> str:
        hot = self._hot.rows(table, "")
        columns, order = _listed(self._columns[table]), ROLLED[table].order
        key = f"({', '.join(order)})"
        none, own = (f", {rollup.none(table)}", f", {rollup.listed(beside)}") if beside else ("", "")
        rollups = beside and table == "samples"  # a row of a histograms' rollup is a raw histogram, and a later one of its time replaces it
        hours = [str(hour // NS_PER_SECOND) for hour in sorted(places.hours)]
        # Without FINAL: only the existence of a key matters, not which of its rows counts.
        later = [f"SELECT {key} FROM {hot} PREWHERE {where} WHERE _partition_id IN ({_quoted(hours)})"]  # noqa: S608  # see above
        branches = [f"SELECT {columns}{none} FROM {hot} FINAL PREWHERE {where}"]  # noqa: S608  # see above
        if places.rolling:
            rolling = f"FROM {hot}_rolling FINAL PREWHERE {where} WHERE {_partitions(places.rolling)}"
            branches.append(f"SELECT {columns}{none} {rolling} AND {key} NOT IN ({later[0]})")  # see above
            later.append(f"SELECT {key} {rolling}")
        if places.files:
            # A key can occur twice only in hours that several files cover; without such hours the sort is spared.
            several = overlap(places.files)
            also = own
            also += ", toUInt64OrZero(extract(_file, '-(\\\\d+)[.]')) AS generation" if several else ""
            cold = self._cold(places.files, self._columns[table], also=also, more=beside)
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
        # A file of a later format is reported as missing: its unknown columns would be ignored, and the answer would be wrong.
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

    def _cold(self, files: Sequence[ColdFile], columns: Columns, *, also: str = "", more: Columns = ()) -> str:
        """The rows of these files, as a SELECT for use in parentheses."""
        # Refused rather than cut: an answer from some of the files would be wrong without showing it.
        if len(files) > MAX_FILES:
            raise TooLarge(f"the range has {len(files)} files", where="time range", accepted=f"{MAX_FILES} files at once: {_SHORTER}")
        self.trail.opened.update(file.key for file in files)
        return cold_rows(self._bucket_url, files, columns, also=also, more=more)


def _used(columns: Columns, used: str) -> Columns:
    """The columns that SQL mentions, by themselves or a part of them, at least one; all without SQL."""
    mentioned = set(re.findall(r"[\w.]+", used))
    mentioned |= {one.rpartition(".")[0] for one in mentioned}
    return [column for column in columns if column[0] in mentioned] or columns if used else columns


def _listed(columns: Columns) -> str:
    return ", ".join(f"`{name}`" for name, _ in columns)


def cold_rows(bucket_url: str, files: Sequence[ColdFile], columns: Columns, *, also: str = "", more: Columns = ()) -> str:
    """The rows of files of one table, as a SELECT for use in parentheses."""
    url = bucket_url + _keys([file.key for file in files])
    structure = parquet.structure([*columns, *more])
    read = _payload_columns(files, columns) if files[0].table == "payloads" else parquet.read(files[0].table, columns)
    return f"SELECT {read}{also} FROM s3('{url}', 'Parquet', {structure}) {_SETTINGS}"  # noqa: S608  # see above


def _by_hour(files: Sequence[ColdFile]) -> list[Sequence[ColdFile]]:
    """Files of payloads by hour, or all together if there are too many hours for a branch each."""
    hours: dict[int, list[ColdFile]] = {}
    for file in files:
        hours.setdefault(file.hour_ns, []).append(file)
    return [*hours.values()] if len(hours) <= _BRANCHES else [files]


def _payload_columns(files: Sequence[ColdFile], columns: Columns) -> str:
    """The columns of files of payloads, with their tenant, and their hour if it is one, as constants.

    A condition on a small column makes the engine hold the contents of the whole file until it has read that column: gigabytes.
    """
    constants = {"tenant": "CAST({tenant:String}, 'LowCardinality(String)') AS `tenant`"}
    if len({file.hour_ns for file in files}) == 1:
        constants["hour"] = f"toDateTime({files[0].hour_ns // NS_PER_SECOND}, 'UTC') AS `hour`"
    return ", ".join(constants.get(name, f"`{name}`") for name, _ in columns)


def _coldest_end(head: Head, table: str) -> int:
    """The end of the table's last hour with rows outside the hot table, or the beginning of time."""
    last = [one.hour_ns for one in head.open if one.table == table]
    last += [head.cold[table][1]] if table in head.cold else []
    return max(last) + HOUR_NS if last else ALL_TIME.start_ns


def _coldest_start(head: Head, table: str) -> int:
    first = [one.hour_ns for one in head.open if one.table == table and one.state != DROPPING]
    first += [head.cold[table][0]] if table in head.cold else []
    return min(first) if first else ALL_TIME.end_ns


def _joined(pieces: Sequence[TimeRange], days: Sequence[int] | None) -> list[TimeRange]:
    """The pieces, in either order, with neighbours joined so that each but the last touches one of ``days`` (their starts, sorted).
    Unchanged if the days are not known.
    """
    if days is None:
        return list(pieces)
    found: list[TimeRange] = []
    empty = False
    for piece in pieces:
        at = bisect_right(days, piece.end_ns - 1) - 1
        holds = at >= 0 and days[at] + DAY_NS > piece.start_ns
        if empty:
            last = found.pop()
            piece = TimeRange(min(last.start_ns, piece.start_ns), max(last.end_ns, piece.end_ns))  # noqa: PLW2901  # joined to the empty one before it
        found.append(piece)
        empty = not holds
    return found


def _unbounded(time_range: TimeRange) -> TimeRange:
    """The range without bounds that statements cannot use (conditions.py): rows beyond them are read as well, so their places
    are needed.
    """
    start = time_range.start_ns if 0 < time_range.start_ns < _LAST_HOUR_NS else ALL_TIME.start_ns
    return TimeRange(start, time_range.end_ns if 0 < time_range.end_ns < _LAST_HOUR_NS else ALL_TIME.end_ns)


def _stretches(hours: Collection[int]) -> list[TimeRange]:
    """The hours as ranges, with consecutive hours joined."""
    found: list[TimeRange] = []
    for hour in sorted(hours):
        if found and found[-1].end_ns == hour:
            found[-1] = TimeRange(found[-1].start_ns, hour + HOUR_NS)
        else:
            found.append(TimeRange(hour, hour + HOUR_NS))
    return found


def _keys(keys: Sequence[str], suffix: str = _SUFFIX) -> str:
    """The keys as one path with the differing parts in braces, which the engine expands itself, without listing the bucket."""
    if len(keys) == 1:
        return keys[0]
    names = [key.removesuffix(suffix) for key in keys]
    prefix = commonprefix(names)  # noqa: RUF071  # of characters: they are put together again
    # One generation may begin with the digits of another, and the engine does not expand braces with nothing between two commas.
    if prefix in names:
        prefix = prefix[:-1]
    return f"{prefix}{{{','.join(name[len(prefix) :] for name in names)}}}{suffix}"


def _partitions(hours: Sequence[OpenHour]) -> str:
    return f"_partition_id IN ({_quoted([hour.partition_id for hour in hours])})"


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)


def _union(branches: Sequence[str]) -> str:
    return "\n  UNION ALL ".join(branches)
