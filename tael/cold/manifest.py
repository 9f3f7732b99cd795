"""The manifest of one shard at one moment, pure: which hours are on their way to the cold tier, and which files hold the hours that have
arrived.

It is a tree of immutable objects in the bucket under one small value, the head, which is kept in the key-value store and changed only by
compare-and-set: head → index (the key of the page of each table's day) → pages (the files of a table's day). A head and the bucket together
give the whole state as of that head. Transitions return a new manifest and the objects that must be in the bucket before its head is
written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import orjson

from tael.cold.files import ROLLED, ColdFile, day_of
from tael.cold.pages import Pages
from tael.errors import Damaged
from tael.model.time import ALL_TIME, DAY_NS, HOUR_NS, TimeRange

RECENT = 64
"""The number of changes that a head remembers: the holder of a head that is at most this many changes old can tell which hours changed
since.
"""
State = Literal["moving", "rolling", "dropping"]
MOVING: State = "moving"
"""The hour's rows are being moved from the hot table to the rolling one and may be in either."""
ROLLING: State = "rolling"
"""The hour's rows are read from the rolling table until their files are committed."""
DROPPING: State = "dropping"
"""The hour's files are committed and read; rows that are still in the rolling table are not."""


@dataclass(frozen=True, slots=True)
class OpenHour:
    """An hour of a table on its way to the cold tier. ``epoch`` is its owner's; ``generation`` is part of the keys of its files.

    A generation is the number of the revision that assigned it, so two files never have the same key and later generations are larger.
    ``abandoned`` are generations of which earlier owners may have written files, and which will never be committed.
    """

    table: str
    hour_ns: int
    generation: int
    state: State
    epoch: int
    abandoned: tuple[int, ...] = ()

    @property
    def partition_id(self) -> str:
        """ClickHouse's id of the hour's partition, the same in the hot table and the rolling one."""
        return str(self.hour_ns // 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Changed:
    """A record that a revision changed an hour of a table."""

    revision: int
    table: str
    hour_ns: int


@dataclass(frozen=True, slots=True)
class Trash:
    """An object that lists keys which nothing has named since ``since_ns``. They are deleted once no reader can still use an older
    manifest.
    """

    since_ns: int
    key: str


@dataclass(frozen=True, slots=True)
class Held:
    """The size of a table's part of the cold tier."""

    files: int = 0
    rows: int = 0
    bytes: int = 0

    def plus(self, new: Iterable[ColdFile], gone: Iterable[ColdFile]) -> Held:
        """The size after ``new`` files were added and ``gone`` ones removed."""
        added, removed = tuple(new), tuple(gone)
        return Held(
            self.files + len(added) - len(removed),
            self.rows + sum(file.rows for file in added) - sum(file.rows for file in removed),
            self.bytes + sum(file.bytes + file.words for file in added) - sum(file.bytes + file.words for file in removed),
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a shard's manifest that is in the key-value store: a few hundred bytes, however many files there are.

    ``cold`` has the first and the last hour with files of each table that has any: a query for later hours needs nothing else of the
    manifest.
    """

    shard: int
    revision: int = 0
    epoch: int = 0
    index: str = ""
    open: tuple[OpenHour, ...] = ()
    recent: tuple[Changed, ...] = ()
    cold: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    trash: tuple[Trash, ...] = ()
    held: Mapping[str, Held] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, key: str, value: bytes) -> Head:
        """Read what ``encode`` wrote. Raises Damaged."""
        try:
            found = orjson.loads(value)
            return cls(
                int(found["shard"]),
                int(found["revision"]),
                int(found["epoch"]),
                str(found["index"]),
                tuple(OpenHour(**{**one, "abandoned": tuple(one["abandoned"])}) for one in found["open"]),
                tuple(Changed(**one) for one in found["recent"]),
                {str(table): (int(first), int(last)) for table, (first, last) in found["cold"].items()},
                tuple(Trash(**one) for one in found["trash"]),
                {str(table): Held(**held) for table, held in found["held"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(key, f"not the head of a manifest: {error}") from error

    def has_cold(self, table: str, time_range: TimeRange = ALL_TIME) -> bool:
        """Whether any file of the table may have rows in the range."""
        bounds = self.cold.get(table)
        # The second bound is the start of the last hour.
        return bounds is not None and bounds[0] < time_range.end_ns and bounds[1] + HOUR_NS > time_range.start_ns

    def open_hours(self, state: State, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours of these tables in ``state`` that touch the range."""
        return tuple(one for one in self.open if one.state == state and one.table in tables and _touches(one.hour_ns, time_range))

    def unchanged_since(self, before: Head, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> bool:
        """Whether no hour of these tables and this range has changed since ``before``; False also when that is no longer known."""
        # One revision may have two contents if the key-value store was restored from a copy and another owner counted on from there.
        if self.revision == before.revision:
            return self == before
        # If the oldest remembered change is later than ``before``, changes in between may have been forgotten.
        if self.revision < before.revision or (len(self.recent) >= RECENT and self.recent[0].revision > before.revision):
            return False
        return not any(one.revision > before.revision and one.table in tables and _touches(one.hour_ns, time_range) for one in self.recent)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A shard's manifest at one revision. ``pages`` hold the files of the days that were loaded; see ``missing_pages``."""

    head: Head
    index: Pages = field(default_factory=dict)
    pages: Mapping[tuple[str, int], tuple[ColdFile, ...]] = field(default_factory=dict)

    @property
    def shard(self) -> int:
        """The shard's number."""
        return self.head.shard

    @property
    def revision(self) -> int:
        """The revision, which grows with every change."""
        return self.head.revision

    def days(self, tables: Collection[str] | None = None, time_range: TimeRange = ALL_TIME) -> list[tuple[str, int]]:
        """Table and day of each page that may list files of the range, in order."""
        return sorted(
            (table, day)
            for table, day in self.index
            if (tables is None or table in tables) and day < time_range.end_ns and day + DAY_NS > time_range.start_ns
        )

    def missing_pages(self, tables: Collection[str] | None = None, time_range: TimeRange = ALL_TIME) -> dict[tuple[str, int], str]:
        """The keys of those pages that are not loaded, by table and day."""
        return {day: self.index[day] for day in self.days(tables, time_range) if day not in self.pages}

    def files(self, table: str, tenant: str | None = None, time_range: TimeRange = ALL_TIME) -> list[ColdFile]:
        """The table's files that may have rows in the range, of one tenant or of all, by hour and generation.

        Raises LookupError when a page of the range is not loaded.
        """
        found: list[ColdFile] = []
        for day in self.days((table,), time_range):
            # A missing page raises KeyError: without it, the answer would look as if its files had no rows.
            found += (file for file in self.pages[day] if (tenant is None or file.tenant == tenant) and file.overlaps(time_range))
        return found

    def hour_files(self, table: str, hour_ns: int) -> list[ColdFile]:
        """Every file that covers the hour. Raises LookupError when its page is not loaded."""
        day = (table, day_of(hour_ns))
        return [file for file in self.pages[day] if hour_ns in file.each_hour] if day in self.index else []

    def rolling(self, table: str, time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours to read from ``<table>_rolling``. Other hours in that table, such as those whose files are committed, must
        not be read.
        """
        return self.head.open_hours(ROLLING, (table,), time_range)

    def moving(self, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours whose rows are being moved, for some milliseconds: wait for a later manifest before reading them."""
        return self.head.open_hours(MOVING, tables, time_range)

    def open_hour(self, table: str, hour_ns: int) -> OpenHour | None:
        """The hour if it is on its way, None otherwise."""
        return next((one for one in self.head.open if (one.table, one.hour_ns) == (table, hour_ns)), None)

    def must_rest(self, table: str, hour_ns: int) -> bool:
        """Whether files of the hour must not be rewritten before it has arrived: of rows with the same key the latest counts, and later
        ones are on their way under an earlier generation.
        """
        return ROLLED[table].replaces and self.open_hour(table, hour_ns) is not None


def _touches(hour_ns: int, time_range: TimeRange) -> bool:
    return hour_ns < time_range.end_ns and hour_ns + HOUR_NS > time_range.start_ns
