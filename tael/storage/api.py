"""The ports of the hot and cold tiers, by signal and direction.

Every reader is scoped to one tenant by its first argument and MUST NOT return another tenant's rows. Every answer says which shards are
missing from it; an answer with none missing is complete. Readers never return less without saying so.

Errors are a part of each port, and a method raises nothing but what its port names. Retryable is Unavailable (a shard does not answer, or
not in time) or Overloaded (it says that it is over a limit): the same call may succeed later. A deadline that passes inside an adapter is
Unavailable, never a bare TimeoutError, which is left to the deadlines of callers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from tael.errors import TooLarge
from tael.model.log import LineFact, LogRecord
from tael.model.predicate import EVERYTHING, Predicate
from tael.model.series import Exemplar, Family, Grid, GridRequest, Labels, Matcher, Samples, Selection
from tael.model.span import Span
from tael.model.span_counts import SpanCounts
from tael.model.streams import LogStream
from tael.model.time import TimeRange
from tael.pb.metrics_pb2 import Histogram

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
MAX_FIND_LIMIT = 10_000
"""The largest ``SpanQuery.limit`` that a reader takes; more is read in pages."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A value, and the names of the shards and of files of the cold tier that did not contribute to it."""

    value: T
    missing: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether anything is missing."""
        return bool(self.missing)


class TraceTooLong(TooLarge):
    """The trace has more than ``most`` spans: it can be read in parts (long_traces.py)."""

    def __init__(self, most: int) -> None:
        super().__init__("the trace is too long to be read as a whole", where="trace", accepted=f"at most {most} spans")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last span of a page; the next page holds what follows it in (start descending, trace id, span id) order."""

    start_ns: int
    trace_id: bytes
    span_id: bytes


@dataclass(frozen=True, slots=True)
class SpanQuery:
    """Spans that start in the range and satisfy the predicate, newest first."""

    time_range: TimeRange
    predicate: Predicate = EVERYTHING
    limit: int = 100
    after: Cursor | None = None


@dataclass(frozen=True, slots=True)
class LogCursor:
    """The last record of a page; the next page holds what follows it in (timestamp, serial) order, newest or oldest first."""

    timestamp_ns: int
    serial: int


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Log records with a time in the range that satisfy the predicate, newest first or ``oldest_first``.

    ``streams`` narrows them to streams whose labels match, and ``unknown`` to records of whose line a shard does not know all of this without reading it.
    """

    time_range: TimeRange
    predicate: Predicate = EVERYTHING
    limit: int = 100
    after: LogCursor | None = None
    oldest_first: bool = False
    streams: tuple[Matcher, ...] = ()
    unknown: tuple[LineFact, ...] = ()


@dataclass(frozen=True, slots=True)
class LogCounts:
    """How many records there are of each stream in each slot; of all streams together, which have no labels then, without ``by_stream``.

    They satisfy ``predicate``, and ``streams`` narrows them to streams whose labels match. Records of whose line a shard knows all
    that ``known`` names, without reading it, are counted apart from the others, and with ``by_level`` those of each level. Slots are ``slot_ns`` long from the beginning of the range on.
    ``sizes`` asks for the bytes of bodies, which are 0 otherwise. Streams that agree in the ``labels`` that are named may count as one, which has the labels
    of any of them.
    """

    time_range: TimeRange
    predicate: Predicate = EVERYTHING
    streams: tuple[Matcher, ...] = ()
    known: tuple[LineFact, ...] = ()
    slot_ns: int = 0
    by_level: bool = False
    sizes: bool = False
    by_stream: bool = True
    labels: tuple[str, ...] | None = None


class LogCount(NamedTuple):
    """One group in one slot. ``known`` says that all that was named is known of its lines; ``bytes`` are those of the bodies as stored, ``level`` is empty
    unless it is known and was asked for.
    """

    labels: Labels
    known: bool
    level: str
    slot: int
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """Sums over a service's spans in a time range; sums add across shards, rates and averages are derived."""

    name: str
    span_count: int
    trace_count: int
    error_count: int
    duration_sum_ns: int


class SpanReader(Protocol):
    """Reads spans of one shard, or of several composed as one.

    Every method raises Retryable when no shard could be asked, Rejected for a question that no shard can answer as it is, TooLarge for one whose
    answer is more than a shard gives.
    """

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        """At most ``query.limit`` spans, ordered by start descending, then trace id, then span id.

        A span that was acknowledged and written appears exactly once. Pages chained by ``after`` MUST neither repeat nor skip a span
        that was there when the first page was read.
        """
        ...

    async def get_trace(
        self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None, most: int | None = None
    ) -> Answer[list[Span]]:
        """Every span of the trace ordered by start, then span id; an unknown id is an empty list, not an error.

        Raises TraceTooLong for a trace of more than ``most`` spans, their copies counted, on one shard, and MUST NOT read many more to find out.

        ``time_range`` is a hint of where to look: a trace that overlaps it MUST be found whole.
        """
        ...

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """The services with a span that started in the range, by name; a trace that two services share counts for each.

        Spans, errors and durations MUST be exact. Traces are where there are few, and an estimate (of a standard error of 2 % at most) where there are many.
        """
        ...


class LogReader(Protocol):
    """Reads log records of one shard, or of several composed as one.

    Every method raises Retryable when no shard could be asked, Rejected for a question that no shard can answer as it is, TooLarge for one whose
    answer is more than a shard gives.
    """

    async def find_logs(self, tenant: str, query: LogQuery) -> Answer[list[LogRecord]]:
        """At most ``query.limit`` records, ordered by timestamp in the query's direction, then serial.

        A record that was acknowledged and written appears exactly once, and two that are equal appear twice. Pages chained by ``after``
        MUST neither repeat nor skip a record that was there when the first page was read.
        """
        ...

    async def count_logs(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogCount]]:
        """The groups and slots that have records, in no order; two rows may be of one group and slot, and add up.

        Raises TooLarge beyond ``max_rows``.
        """
        ...

    async def list_streams(self, tenant: str, selection: Selection, limit: int) -> Answer[list[LogStream]]:
        """The streams that match and may have a record in the range (to the hour), by labels, each once; at most ``limit`` where it is not 0.

        A stream is where records with its labels are; several shards may have records of one. ``records`` and ``bytes`` count every record of
        the hours that the range touches as it was written.
        """
        ...


class SeriesReader(Protocol):
    """Reads series of one shard, or of several composed as one. Times are milliseconds; ranges leave the start out and hold the end.

    A series is on one shard. Where two shards know the same labels all the same, the composition MUST return one series of both.
    Every method raises Retryable when no shard could be asked, Rejected for a question that no shard can answer as it is, and TooLarge for
    one that is beyond a limit.
    """

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """Every sample of every series that matches, stale markers included; a series without a sample in the range is left out.

        Of two samples of one series at one time the one that was written last is returned. Raises TooLarge beyond ``max_samples``,
        before it holds many more.
        """
        ...

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """``request`` evaluated where the samples are, as Prometheus' function would be; None when a native histogram matches, or the
        values are beyond what the shard's function is exact for: these are left to the caller. Series without any value are left out.
        Raises TooLarge beyond ``max_series``.
        """
        ...

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        """The label sets that match and may have a sample in the range (to the hour), ordered; at most ``limit`` where it is not 0."""
        ...

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """Names of the labels of those series, ordered; ``selection.matchers`` may be empty, which is every series."""
        ...

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """Values of one label of those series, ordered."""
        ...

    async def families(self, tenant: str, metric: str, limit: int) -> Answer[list[Family]]:
        """Metadata by name, of one metric or, when ``metric`` is empty, of all."""
        ...

    async def exemplars(self, tenant: str, matchers: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> Answer[list[Exemplar]]:
        """Exemplars of the series that match any of ``matchers``, by series and time."""
        ...


class Total(NamedTuple, Generic[T]):
    """Where a running total of increments stands: the time and value of its last sample, and the last batch of the WAL that is in it (0 when none
    is known); TOTAL_BETWEEN marks a sample that is no such end.
    """

    time_ms: int
    value: T
    batch: int


TOTAL_BETWEEN = 1


class TotalsReader(Protocol):
    """Reads where the running totals of one shard's series stand, for the writer that adds to them.

    Every method raises Retryable, and nothing else.
    """

    async def last_samples(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, Total[float]]:
        """Each series' total, by series id; none for a series without a sample. Stale markers do not count.

        ``series`` are metric and series ids; samples before ``since_ms`` may be missed. What was written before the call MUST be seen, and of
        two samples of one time only the one that was written last.
        """
        ...

    async def last_histograms(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, Total[Histogram]]:
        """The same for native histograms."""
        ...


class SpanCountReader(Protocol):
    """Counts spans for the metrics that are made of them, on one shard or several; a trace is on one shard.

    Rows end at multiples of ``slot_ms``, which is a multiple of 15 seconds; the last one is not after ``end_ms``. Several rows may be of the
    same group, slot and bucket. Every method raises TooLarge beyond ``max_rows``, and Retryable when no shard
    could be asked.
    """

    async def count_calls(self, tenant: str, start_ms: int, end_ms: int, slot_ms: int, max_rows: int) -> Answer[SpanCounts]:
        """Spans by (service, name, kind, status) in the buckets of CALL_BOUNDS, from the beginning on.

        What ended up to ``start_ms`` is in the slot that ends there or just before.
        """
        ...

    async def span_kinds(self, tenant: str, start_ms: int, end_ms: int) -> Answer[set[int]]:
        """OTLP's kinds of the spans that ended in the range; empty where there are none."""
        ...

    async def count_edges(self, tenant: str, start_ms: int, end_ms: int, slot_ms: int, max_rows: int) -> Answer[SpanCounts]:
        """Calls from one service to another: a client's or producer's span with a child that is a server's or consumer's.

        By (client, server, connection type, ``failed`` or empty, whose duration it is: ``client`` or ``server``), in the buckets of EDGE_BOUNDS,
        of the range alone. Beyond some millions of spans a shard looks at a part of its traces, and its counts are estimates.
        """
        ...


LANDING: Final = 2
"""The edition of landing tables that this version inserts into; it grows whenever one of them is followed by another (docs/formats.md)."""


class BatchWriter(Protocol):
    """Writes the log's batches into one shard's hot tier."""

    async def write(self, signal: str, body: bytes, token: str, landing: int = LANDING) -> None:
        """Write joined ``WalBatch`` messages of one signal, all or nothing.

        Returns only when a reader of this shard can see the rows. MUST be idempotent in ``token``: a second call with the same token,
        body and ``landing`` adds nothing, also after a restart, within the window that docs/formats.md states. Raises Retryable
        when the same call may succeed later, Rejected when these bytes never will, StoredInPart when they never will and some of their
        items are readable already.
        """
        ...


@dataclass(frozen=True, slots=True)
class PartitionSize:
    """One partition of one table on one shard: what it holds, in how many parts, and from when to when.

    ``signal`` is ``traces``, ``logs``, ``metrics`` or ``payloads``: whose retention holds for the table.
    """

    table: str
    start_ns: int
    rows: int
    bytes_on_disk: int
    parts: int
    signal: str
    hours: int = 1


@dataclass(frozen=True, slots=True)
class DetachedPart:
    """A part that no statement reads: ``reason`` is the engine's word (``broken-on-start``, ``noquorum``, …), "" where somebody took it away by hand."""

    table: str
    name: str
    reason: str
    path: str
    bytes_on_disk: int


class SchemaStore(Protocol):
    """One shard's schema and partitions, for the coordinator and the compactor.

    Every method raises Retryable when the shard does not answer, and Rejected when it refuses the statement for good.
    """

    async def migrate(self) -> list[str]:
        """Bring the schema to this version of tael and return the names of the migrations that ran, oldest first.

        MUST be idempotent and resumable: a migration that died half way is repeated whole by the next call. Raises Rejected
        when the schema is newer than this program.
        """
        ...

    async def is_migrated(self) -> bool:
        """Whether the shard has this version's schema, for a look now and then: False for one whose disk is new. Raises as ``migrate`` does."""
        ...

    async def list_partitions(self) -> list[PartitionSize]:
        """Every partition of every table that grows with what is received, oldest first."""
        ...

    async def list_detached(self) -> list[DetachedPart]:
        """Every part of the shard's tables that lies beside them on its disks and is not read."""
        ...

    async def drop_partition(self, partition: PartitionSize) -> None:
        """Remove it; removing what is gone already is no error."""
        ...


class AskedShard(Protocol[R_co]):
    """A shard as the sharded reader asks it one question of one port, whose methods' errors it raises."""

    @property
    def name(self) -> str:
        """What an answer that lacks the shard calls it."""
        ...

    async def ask(self, question: Callable[[R_co], Awaitable[Answer[T]]]) -> Answer[T]:
        """The answer of the shard's reader. The question may be asked more than once, and MUST NOT change anything."""
        ...


@dataclass(frozen=True, slots=True)
class Shard(Generic[R]):
    """See AskedShard: a shard with a reader that is always the same."""

    name: str
    reader: R = field(repr=False)

    async def ask(self, question: Callable[[R], Awaitable[Answer[T]]]) -> Answer[T]:
        """See AskedShard."""
        return await question(self.reader)
