"""The manifest of one shard at one moment, pure: which hours are on their way to the cold tier, and which files hold those that arrived.

It is a tree of immutable objects in the bucket under one small value, the head, which the key-value store keeps and which is changed by
compare-and-set alone: head → index (the page of each table's day) → pages (the files of a table's day). Whoever has a head and the bucket has
everything as it was at that head. Transitions give a new manifest and the objects that must be in the bucket before its head is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import orjson

from tael.cold.files import ColdFile, day_of
from tael.cold.pages import Pages
from tael.errors import Damaged
from tael.model.time import ALL_TIME, DAY_NS, HOUR_NS, TimeRange

RECENT = 64
"""How many changes a head remembers: within that many, who holds an older head knows which hours changed since."""
State = Literal["moving", "rolling", "dropping"]
MOVING: State = "moving"
"""Its rows go from the hot table to the rolling one just now: nobody can say where they are."""
ROLLING: State = "rolling"
"""They are in the rolling table, to be read there, until their files are committed."""
DROPPING: State = "dropping"
"""Their files are committed and to be read; what is still in the rolling table is not."""


@dataclass(frozen=True, slots=True)
class OpenHour:
    """An hour of a table on its way. ``epoch`` is its owner's; ``generation`` is what its files will be named by, or are.

    A generation is the revision that gave it: no two files ever have one key, and of two generations the later is the larger.
    ``abandoned`` are generations that earlier owners may have written files of and that never will be committed.
    """

    table: str
    hour_ns: int
    generation: int
    state: State
    epoch: int
    abandoned: tuple[int, ...] = ()

    @property
    def partition_id(self) -> str:
        """ClickHouse's name of the hour's partition, in the hot table as in the rolling one."""
        return str(self.hour_ns // 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Changed:
    """That an hour of a table was changed by a revision."""

    revision: int
    table: str
    hour_ns: int


@dataclass(frozen=True, slots=True)
class Trash:
    """An object that lists keys which nothing names since ``since_ns``: they are deleted once no reader can still have an older manifest."""

    since_ns: int
    key: str


@dataclass(frozen=True, slots=True)
class Held:
    """How much of a table is cold."""

    files: int = 0
    rows: int = 0
    bytes: int = 0

    def plus(self, new: Iterable[ColdFile], gone: Iterable[ColdFile]) -> Held:
        """With some files more, and others less."""
        added, removed = tuple(new), tuple(gone)
        return Held(
            self.files + len(added) - len(removed),
            self.rows + sum(file.rows for file in added) - sum(file.rows for file in removed),
            self.bytes + sum(file.bytes for file in added) - sum(file.bytes for file in removed),
        )


@dataclass(frozen=True, slots=True)
class Head:
    """What the key-value store keeps of a shard's manifest: a few hundred bytes, however many files there are.

    ``cold`` has, of each table that has files, the first and the last hour with some: a question about later hours needs nothing else.
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
            raise Damaged(key, f"this is no head of a manifest: {error}") from error

    def has_cold(self, table: str, time_range: TimeRange = ALL_TIME) -> bool:
        """Whether some file of the table may be in the range."""
        bounds = self.cold.get(table)
        return bounds is not None and bounds[0] < time_range.end_ns and bounds[1] + HOUR_NS > time_range.start_ns

    def open_hours(self, state: State, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours of these tables that touch the range and are in that state."""
        return tuple(one for one in self.open if one.state == state and one.table in tables and _touches(one.hour_ns, time_range))

    def unchanged_since(self, before: Head, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> bool:
        """Whether what ``before`` says of these tables and this range still holds; False too where nobody remembers."""
        # One revision with two contents: a key-value store was restored from a copy, and another owner counted on from there.
        if self.revision == before.revision:
            return self == before
        # Where the oldest change remembered is later than ``before``, those in between are forgotten.
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
        """Grows with every change."""
        return self.head.revision

    def days(self, tables: Collection[str] | None = None, time_range: TimeRange = ALL_TIME) -> list[tuple[str, int]]:
        """Table and day of the pages that may hold files of the range, in order."""
        return sorted(
            (table, day)
            for table, day in self.index
            if (tables is None or table in tables) and day < time_range.end_ns and day + DAY_NS > time_range.start_ns
        )

    def missing_pages(self, tables: Collection[str] | None = None, time_range: TimeRange = ALL_TIME) -> dict[tuple[str, int], str]:
        """The keys of those that are not loaded."""
        return {day: self.index[day] for day in self.days(tables, time_range) if day not in self.pages}

    def files(self, table: str, tenant: str | None = None, time_range: TimeRange = ALL_TIME) -> list[ColdFile]:
        """The table's files with rows that may be in the range, of one tenant or of all, by hour and generation.

        Raises LookupError where a page of the range is not loaded.
        """
        found: list[ColdFile] = []
        for day in self.days((table,), time_range):
            # A page that is missing raises: to leave it out would answer as if its files had no rows.
            found += (file for file in self.pages[day] if (tenant is None or file.tenant == tenant) and file.overlaps(time_range))
        return found

    def hour_files(self, table: str, hour_ns: int) -> list[ColdFile]:
        """Every file that holds an hour. Raises LookupError where its page is not loaded."""
        day = (table, day_of(hour_ns))
        return [file for file in self.pages[day] if hour_ns in file.each_hour] if day in self.index else []

    def rolling(self, table: str, time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours of the table to be read from ``<table>_rolling``: those alone, for it may hold others that are not to be read."""
        return self.head.open_hours(ROLLING, (table,), time_range)

    def moving(self, tables: Collection[str], time_range: TimeRange = ALL_TIME) -> tuple[OpenHour, ...]:
        """The hours whose rows are nowhere to be found for some milliseconds: wait for a later manifest."""
        return self.head.open_hours(MOVING, tables, time_range)

    def open_hour(self, table: str, hour_ns: int) -> OpenHour | None:
        """The hour, where it is on its way."""
        return next((one for one in self.head.open if (one.table, one.hour_ns) == (table, hour_ns)), None)


def _touches(hour_ns: int, time_range: TimeRange) -> bool:
    return hour_ns < time_range.end_ns and hour_ns + HOUR_NS > time_range.start_ns
