"""The ports of the hot and cold tiers, by signal and direction.

Every reader is scoped to one tenant by its first argument and MUST NOT return another tenant's rows. Every answer names the shards that are
missing from it; an answer with none missing is complete. Readers never return less without reporting it.

Errors are a part of each port, and a method raises nothing but what its port names. Retryable is Unavailable (a shard does not answer, or
not in time) or Overloaded (it reports that it is over a limit): the same call may succeed later. When a deadline passes inside an adapter,
the adapter raises Unavailable and never a bare TimeoutError: that one is reserved for the deadlines of callers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from tael.errors import TooLarge
from tael.logql.records import Entry
from tael.model.log import LineFact, LogRecord
from tael.model.predicate import EVERYTHING, Predicate
from tael.model.series import Exemplar, Family, Grid, GridRequest, Labels, Longs, Matcher, Samples, Selection, Serials
from tael.model.span import Span
from tael.model.span_counts import SpanCounts
from tael.model.streams import LogStream
from tael.model.time import TimeRange
from tael.pb.metrics_pb2 import Histogram

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
MAX_FIND_LIMIT = 10_000
"""The largest ``SpanQuery.limit`` that a reader accepts; more spans are read in pages."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A value, and the names of the shards and cold files that did not contribute to it."""

    value: T
    missing: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether a shard or file is missing."""
        return bool(self.missing)


class TraceTooLong(TooLarge):
    """The trace has more than ``most`` spans: it can be read in parts (long_traces.py)."""

    def __init__(self, most: int) -> None:
        super().__init__("the trace is too long to be read as a whole", where="trace", accepted=f"at most {most} spans")


class TooManyGroups(TooLarge):
    """More than ``most`` groups: a shorter range has hardly fewer."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most} groups", where="query", accepted="fewer labels")


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

    ``streams`` restricts them to streams whose labels match. ``unknown`` and ``known_if`` restrict them to records for which a shard would
    have to read the line to learn at least one of these facts, or that do not satisfy the predicate.
    """

    time_range: TimeRange
    predicate: Predicate = EVERYTHING
    limit: int = 100
    after: LogCursor | None = None
    oldest_first: bool = False
    streams: tuple[Matcher, ...] = ()
    unknown: tuple[LineFact, ...] = ()
    known_if: Predicate = EVERYTHING


@dataclass(frozen=True, slots=True)
class LogCounts:
    """A request to count the records of each stream in each slot or, without ``by_stream``, of all streams together, whose rows then have
    no labels.

    Counted are records that satisfy ``predicate``, in streams whose labels match ``streams``. Records for which a shard knows all the facts
    in ``known`` without reading the line, and that satisfy ``known_if``, are counted separately from the others, with ``by_level``
    separately for each level, and separately by ``texts``: of each of these regular expressions the text of its group where it first
    matches in the body, empty where it does not. Slots are ``slot_ns`` long and begin with the range. ``sizes`` requests the bytes of
    bodies, which are 0 otherwise; with ``value``, a regular expression like ``texts``, the sum of the whole numbers that it finds stands in
    their place, and lines in which it finds none are not counted. Streams that agree in all of ``labels`` may be counted as one, with the
    labels of any of them.
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
    known_if: Predicate = EVERYTHING
    texts: tuple[str, ...] = ()
    value: str = ""


class LogCount(NamedTuple):
    """One group in one slot. ``known`` is whether all the facts in ``LogCounts.known`` are known of its lines and they satisfy
    ``LogCounts.known_if``; ``bytes`` is the size of the bodies as stored, or the sum; ``level`` is empty unless it is known and was
    requested, and so are ``texts``.
    """

    labels: Labels
    known: bool
    level: str
    slot: int
    records: int
    bytes: int
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogValues:
    """The lines of a group, the first fields as in ``LogCount``: when they were, their serials, and the text that ``LogCounts.value`` finds
    in each, ``words[places[i]]``. Lines without one are left out, and of a group that is not ``known`` all are.
    """

    labels: Labels
    known: bool
    level: str
    texts: tuple[str, ...]
    times_ns: Longs
    serials: Serials
    words: Sequence[str]
    places: Longs


@dataclass(frozen=True, slots=True)
class ServiceStats:
    """Sums over a service's spans in a time range. Sums of shards can be added; rates and averages are derived from them."""

    name: str
    span_count: int
    trace_count: int
    error_count: int
    duration_sum_ns: int


class SpanReader(Protocol):
    """Reads spans of one shard, or of several composed as one.

    Every method raises Retryable when no shard could be queried, Rejected for a query that no shard can answer as it stands, and TooLarge
    for one whose answer exceeds what a shard returns.
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
        """Every span of the trace ordered by start, then span id; for an unknown id an empty list, not an error.

        Raises TraceTooLong when one shard has more than ``most`` spans of the trace, copies included, and MUST NOT read many more to find
        out.

        ``time_range`` is a hint of where to look: a trace that overlaps it MUST be returned whole.
        """
        ...

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """The services with a span that started in the range, by name; a trace that two services share counts for each.

        Spans, errors and durations MUST be exact. The number of traces is exact while it is small and an estimate (with a standard error of
        at most 2 %) when it is large.
        """
        ...


class LogReader(Protocol):
    """Reads log records of one shard, or of several composed as one.

    Every method raises Retryable when no shard could be queried, Rejected for a query that no shard can answer as it stands, and TooLarge
    for one whose answer exceeds what a shard returns.
    """

    async def find_logs(self, tenant: str, query: LogQuery) -> Answer[list[LogRecord]]:
        """At most ``query.limit`` records, ordered by timestamp in the query's direction, then serial.

        A record that was acknowledged and written appears exactly once, and two that are equal appear twice. Pages chained by ``after``
        MUST neither repeat nor skip a record that was there when the first page was read.
        """
        ...

    async def read_lines(self, tenant: str, query: LogQuery, names: Collection[str] | None = None) -> Answer[list[Entry]]:
        """The records of ``find_logs`` as LogQL's lines. With ``names``, metadata under other names may be left out.

        Raises TooLarge for a page that takes more memory than a shard gives to one answer: fewer lines may fit.
        """
        ...

    async def count_logs(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogCount]]:
        """The groups and slots that have records, in no particular order; several rows of the same group and slot are possible, and add up.

        Raises TooLarge beyond ``max_rows``.
        """
        ...

    async def read_values(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogValues]]:
        """The groups of ``count_logs`` without slots, with the value of each line.

        Raises TooManyGroups beyond ``max_rows``, and TooLarge where the values take more memory than a shard gives to one answer: those of
        a shorter range may fit.
        """
        ...

    async def list_streams(self, tenant: str, selection: Selection, limit: int) -> Answer[list[LogStream]]:
        """The streams that match and may have a record in the range (to the hour), ordered by labels, each once; at most ``limit`` unless
        that is 0.

        Several shards may have records of the same stream. ``records`` and ``bytes`` count every record, as written, in the hours that the
        range touches.
        """
        ...


class SeriesReader(Protocol):
    """Reads series of one shard, or of several composed as one. Times are milliseconds; ranges exclude their start and include their end.

    A series is on one shard. Where two shards nevertheless know the same labels, the composition MUST return one series made of both. Every
    method raises Retryable when no shard could be queried, Rejected for a query that no shard can answer as it stands, and TooLarge for one
    that exceeds a limit.
    """

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """Every sample of every series that matches, stale markers included; a series without a sample in the range is left out.

        Of two samples of one series at the same time, the one that was written last is returned. Raises TooLarge beyond ``max_samples``,
        before it holds many more in memory.
        """
        ...

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """``request`` evaluated where the samples are, with the results of Prometheus' function. Series without any value are left out.

        None when a native histogram matches or when the shard's function is not exact for these values: the caller evaluates the samples
        itself. Raises TooLarge beyond ``max_series``.
        """
        ...

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        """The label sets that match and may have a sample in the range (to the hour), ordered; at most ``limit`` unless that is 0."""
        ...

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """The names of the labels of the series that match, ordered; empty ``selection.matchers`` match every series."""
        ...

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """The values of one label of the series that match, ordered."""
        ...

    async def families(self, tenant: str, metric: str, limit: int) -> Answer[list[Family]]:
        """Metadata of one metric or, when ``metric`` is empty, of all, by name."""
        ...

    async def exemplars(self, tenant: str, matchers: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> Answer[list[Exemplar]]:
        """Exemplars of the series that match any of ``matchers``, by series and time."""
        ...


class Total(NamedTuple, Generic[T]):
    """A running total of increments as of its last sample: that sample's time and value, and the last batch of the WAL that is included in
    it (0 when none is known, TOTAL_BETWEEN when the sample is not the last one of its batch).
    """

    time_ms: int
    value: T
    batch: int


TOTAL_BETWEEN = 1


class TotalsReader(Protocol):
    """Reads the running totals of one shard's series, for the writer that adds to them. Every method raises Retryable, and nothing else."""

    async def last_samples(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, Total[float]]:
        """The total of each series, by series id; none for a series without a sample. Stale markers do not count.

        ``series`` are metric and series ids. Samples before ``since_ms`` may be missed. Everything written before the call MUST be seen
        and, of two samples at the same time, only the one that was written last.
        """
        ...

    async def last_histograms(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, Total[Histogram]]:
        """The same for native histograms."""
        ...


class SpanCountReader(Protocol):
    """Counts spans for span metrics, on one shard or several; a trace is on one shard.

    Slots end at multiples of ``slot_ms``, which is a multiple of 15 seconds; the last one does not end after ``end_ms``. Several rows may
    belong to the same group, slot and bucket. Every method raises TooLarge beyond ``max_rows``, and Retryable when no shard could be
    queried.
    """

    async def count_calls(self, tenant: str, start_ms: int, end_ms: int, slot_ms: int, max_rows: int) -> Answer[SpanCounts]:
        """Spans by (service, name, kind, status) in the buckets of CALL_BOUNDS, from the oldest one on.

        Spans that ended by ``start_ms`` are in the slot that ends there or just before.
        """
        ...

    async def span_kinds(self, tenant: str, start_ms: int, end_ms: int) -> Answer[set[int]]:
        """The OTLP kinds of the spans that ended in the range; empty when there are none."""
        ...

    async def count_edges(self, tenant: str, start_ms: int, end_ms: int, slot_ms: int, max_rows: int) -> Answer[SpanCounts]:
        """Calls from one service to another: a client's or producer's span with a child that is a server's or consumer's.

        Counted by (client, server, connection type, ``failed`` or empty, and the side whose duration is counted: ``client`` or ``server``),
        in the buckets of EDGE_BOUNDS, within the range only. Beyond some millions of spans a shard samples its traces, and its counts are
        estimates.
        """
        ...


LANDING: Final = 5
"""The edition of the landing tables that this version inserts into; it grows whenever one of them is superseded (docs/formats.md)."""


class BatchWriter(Protocol):
    """Writes batches of the WAL into one shard's hot tier."""

    async def write(self, signal: str, body: bytes, token: str, landing: int = LANDING) -> None:
        """Write joined ``WalBatch`` messages of one signal, all or nothing.

        Returns only when a reader of this shard can see the rows. MUST be idempotent in ``token``: a second call with the same token,
        body and ``landing`` adds nothing, even after a restart, within the window that docs/formats.md states. Raises Retryable
        when the same call may succeed later, Rejected when it never will with these bytes, and StoredInPart when it never will and some of
        their items are readable already.
        """
        ...


class AskedShard(Protocol[R_co]):
    """A shard that can be asked a question of one port. Raises what the port's methods raise."""

    @property
    def name(self) -> str:
        """The name under which ``Answer.missing`` lists the shard."""
        ...

    async def ask(self, question: Callable[[R_co], Awaitable[Answer[T]]]) -> Answer[T]:
        """Call ``question`` with the shard's reader and return the answer. It may be called more than once, and MUST NOT change
        anything.
        """
        ...


@dataclass(frozen=True, slots=True)
class Shard(Generic[R]):
    """See AskedShard: a shard whose reader never changes."""

    name: str
    reader: R = field(repr=False)

    async def ask(self, question: Callable[[R], Awaitable[Answer[T]]]) -> Answer[T]:
        """See AskedShard."""
        return await question(self.reader)
