"""The Parquet files of the cold tier: which tables have them, what describes one, and its key in the bucket; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from tael.model.series import ROLLUP_MS
from tael.model.time import DAY_NS, HOUR_NS, NS_PER_SECOND, TimeRange

FORMAT = 1
"""The version of the columns and encodings of files of rows as they came."""
ROLLUP_FORMAT = 2
"""The version of rollups, and the latest that is read. A release that knows only FORMAT leaves rollups out and reports them as missing."""
ROLLUP_SECONDS = ROLLUP_MS // 1000
"""The length of a rollup's buckets."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """A table whose hours go to the cold tier.

    ``time`` is the column with a row's time; ``ids`` are the columns over which a file's checksum is taken; ``order`` is the table's key.
    If ``replaces``, the last of several rows with the same key counts. ``service`` and ``name`` are the columns whose bounds are recorded
    for a file.
    """

    signal: str
    time: str
    ids: tuple[str, ...]
    order: tuple[str, ...]
    replaces: bool = False
    service: str = ""
    name: str = ""


_SAMPLE = ("tenant", "metric", "series", "ts")
ROLLED = {
    "spans": Rolled(
        "traces",
        "start_time",
        ("trace_id", "span_id", "parent_span_id", "start_time", "duration_ns"),
        ("tenant", "service", "toStartOfHour(start_time)", "start_time"),
        service="service",
        name="name",
    ),
    "logs": Rolled(
        "logs",
        "timestamp",
        ("timestamp", "serial", "trace_id", "span_id", "body"),
        ("tenant", "service", "toStartOfHour(timestamp)", "timestamp"),
        service="service",
    ),
    "samples": Rolled("metrics", "ts", ("metric", "series", "ts", "value"), _SAMPLE, replaces=True),
    "histograms": Rolled("metrics", "ts", ("metric", "series", "ts", "count", "sum"), _SAMPLE, replaces=True),
    "exemplars": Rolled("metrics", "ts", ("metric", "series", "ts", "trace_id", "value"), (*_SAMPLE, "trace_id", "value"), replaces=True),
    "series": Rolled(
        "metrics", "hour", ("metric", "series", "hour"), ("tenant", "metric_name", "series"), replaces=True, name="metric_name"
    ),
    "payloads": Rolled("payloads", "hour", ("hash", "offset", "content"), ("tenant", "hash", "offset"), replaces=True),
}
"""Every table whose hours leave the hot tier. A partition of each is one hour."""

ROLLED_UP = frozenset(("samples", "histograms"))
"""The tables whose old hours become rollups."""
GATHERED = ROLLED_UP | {"series", "exemplars"}
"""The tables whose old files of a day become one; of samples and histograms only the rollups do."""
DAY_HOURS = 24


@dataclass(frozen=True, slots=True)
class ColdFile:
    """One tenant's rows of one hour of a table of one shard, as one generation wrote them.

    An hour has several files of a tenant when rows came late: each generation holds its own rows, and of rows with the same key, that of
    the larger generation counts. Times are nanoseconds; ``min_service`` to ``max_name`` are None where the table has no such column. A file
    of samples or histograms with a ``resolution`` is a rollup: a few rows for each series and bucket of that many seconds (docs/adr/0022).
    A file of 24 ``hours`` holds a day, from ``hour_ns`` on. ``words`` is the size of the object with a pack's words (docs/adr/0031), 0
    where it has none.
    """

    table: str
    tenant: str
    shard: int
    hour_ns: int
    generation: int
    rows: int
    bytes: int
    checksum: str
    min_time_ns: int
    max_time_ns: int
    min_service: str | None = None
    max_service: str | None = None
    min_name: str | None = None
    max_name: str | None = None
    format: int = FORMAT
    resolution: int = 0
    hours: int = 1
    words: int = 0

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        folder = f"{self.table}_{self.resolution // 60}m" if self.resolution else self.table
        return file_key(folder, self.tenant, self.shard, self.hour_ns, self.generation, day=self.hours > 1)

    @property
    def words_key(self) -> str:
        """The key of the object with a pack's words: beside it, under a name that readers of Parquet folders leave out."""
        folder, _, name = self.key.rpartition("/")
        return f"{folder}/_{name.removesuffix('.parquet')}.words"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of everything that goes when the file goes."""
        return (self.key, self.words_key) if self.table == "payloads" else (self.key,)

    @property
    def end_ns(self) -> int:
        """The end of its last hour."""
        return self.hour_ns + self.hours * HOUR_NS

    @property
    def each_hour(self) -> range:
        """The starts of its hours."""
        return range(self.hour_ns, self.end_ns, HOUR_NS)

    @property
    def settled(self) -> bool:
        """Whether it is a rollup or a day: later rows of its hours get files of their own beside it, and are never merged into it."""
        return self.resolution > 0 or self.hours > 1

    def overlaps(self, time_range: TimeRange) -> bool:
        """Whether any of its rows may be in the range."""
        return self.min_time_ns < time_range.end_ns and self.max_time_ns >= time_range.start_ns

    def may_have(self, *, service: str | None = None, name: str | None = None) -> bool:
        """Whether any of its rows may have that service and that name; True when the bounds do not tell."""
        return _within(service, self.min_service, self.max_service) and _within(name, self.min_name, self.max_name)


def _within(value: str | None, least: str | None, most: str | None) -> bool:
    # As bytes, because the bounds come from the engine, which compares strings byte by byte.
    if value is None or least is None or most is None:
        return True
    return least.encode() <= value.encode() <= most.encode()


def file_key(folder: str, tenant: str, shard: int, hour_ns: int, generation: int, *, day: bool = False) -> str:
    """``<table>/tenant=…/date=…/hour=…/<shard>-<generation>.parquet``; the folders of rollups are ``samples_5m`` and ``histograms_5m``.

    The key of a day is ``<table>_day/tenant=…/date=…/<shard>-<generation>.parquet``.
    """
    at = datetime.fromtimestamp(hour_ns // NS_PER_SECOND, UTC)
    place = f"tenant={tenant_in_key(tenant)}/date={at:%Y-%m-%d}"
    return f"{folder}_day/{place}/{shard}-{generation}.parquet" if day else f"{folder}/{place}/hour={at:%H}/{shard}-{generation}.parquet"


def tenant_in_key(tenant: str) -> str:
    """A tenant's name with each character that has a meaning in URLs or patterns, and each dot after a dot, escaped as ``~`` and two hex
    digits.

    No tenant's name contains ``~``, so two tenants never get the same key.
    """
    # Some clients would resolve path parts like ``..``, and the engine would take braces and stars for patterns.
    return re.sub(r"[^A-Za-z0-9_.-]|(?<=\.)\.", lambda match: f"~{ord(match[0]):02X}", tenant)


def overlap(files: Iterable[ColdFile]) -> bool:
    """Whether two of the files cover the same hour, so that rows of both may have the same key."""
    # Sorted by start, so if any two files overlap, the earlier one overlaps with its neighbour too.
    in_order = sorted(files, key=lambda file: (file.hour_ns, -file.hours))
    return any(later.hour_ns < earlier.end_ns for earlier, later in pairwise(in_order))


def hour_of(time_ns: int) -> int:
    """The start of the hour that a time is in."""
    return time_ns - time_ns % HOUR_NS


def day_of(time_ns: int) -> int:
    """The start of the day (UTC) that a time is in."""
    return time_ns - time_ns % DAY_NS
