"""Adds increments (delta temporality) up to running totals, which Prometheus' functions expect; pure.

Every increment counts exactly once, whatever its time, even if several have the same time. The increments of a batch are added in the order
of their times. One that is not later than its series' total raises the total at the total's own time, as earlier samples are already
written. A time after the arrival counts as the arrival, so that a sender's wrong clock does not move its series into the future; a time
days before it counts as three days before, so that an insert touches few hours.

Each total names the last batch that it includes. Batches are added in the order of the WAL, so a writer that repeats one after a crash
sees from the name which totals include it already.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from xxhash import xxh3_64_intdigest

from tael.model.lanes import counted_at_ms
from tael.pb.metrics_pb2 import Histogram, OnlyDeltas, TotalBatch
from tael.storage.api import TOTAL_BETWEEN, Total
from tael.wal import codec

T = TypeVar("T")
NS_PER_MS = 1_000_000
Ids = tuple[int, int]
"""Metric and series id."""


class Increment(NamedTuple, Generic[T]):
    """The amount counted since the previous increment of the series."""

    time_ms: int
    ids: Ids
    amount: T


@dataclass(slots=True)
class Increments:
    """What a batch adds to one tenant's series, ordered by time and, for equal times, by position in the WAL."""

    tenant: str
    received_at_ns: int
    samples: list[Increment[float]] = field(default_factory=list)
    histograms: list[Increment[Histogram]] = field(default_factory=list)


def read_increments(bodies: Iterable[bytes]) -> list[Increments]:
    """The increments in bodies of the WAL, by tenant. Only the deltas field is parsed, so bodies without increments cost little."""
    by_tenant: dict[str, Increments] = {}
    for body in bodies:
        for record in codec.decode(body):
            message = OnlyDeltas.FromString(record.request)
            if message.HasField("deltas"):
                deltas, arrived_ms = message.deltas, record.received_at // NS_PER_MS
                tenant = by_tenant.setdefault(record.tenant, Increments(record.tenant, record.received_at))
                ids = zip(deltas.metric, deltas.series, strict=True)
                times = (counted_at_ms(time_ms, arrived_ms) for time_ms in deltas.time_ms)
                tenant.samples += map(Increment, times, ids, deltas.value)
                tenant.histograms += [
                    Increment(counted_at_ms(one.time_ms, arrived_ms), (one.metric, one.series), one) for one in deltas.histograms
                ]
    for increments in by_tenant.values():
        # A stable sort by time only: increments of one time keep the order of the WAL, which a repeated batch must reproduce.
        increments.samples.sort(key=itemgetter(0))
        increments.histograms.sort(key=itemgetter(0))
    return list(by_tenant.values())


def batch_id(name: str) -> int:
    """The number that identifies a batch in its totals, never 0 or TOTAL_BETWEEN."""
    # Setting the second bit makes it at least 2, above both reserved numbers, and leaves 63 bits to distinguish batches.
    return int(xxh3_64_intdigest(name.encode())) | 2


class Row(NamedTuple, Generic[T]):
    """A total to be written."""

    ids: Ids
    total: Total[T]


class Running(Generic[T]):
    """The running totals of at most ``most`` series, by series id; the least recently written are evicted."""

    def __init__(self, most: int, plus: Callable[[T, T], T]) -> None:
        self._most = most
        self._plus = plus
        self._totals: OrderedDict[int, Total[T]] = OrderedDict()

    def unknown(self, increments: Sequence[Increment[T]]) -> list[Ids]:
        """The series whose totals are not cached."""
        return sorted({increment.ids for increment in increments if increment.ids[1] not in self._totals})

    def learn(self, totals: Mapping[int, Total[T]]) -> None:
        """Cache totals read from the hot tier; a series missing there begins at zero."""
        self._totals.update(totals)

    def add(self, increments: Sequence[Increment[T]], batch: int) -> list[Row[T]]:
        """The totals after each increment of a batch, series by series. The last one of a series names the batch, the others
        TOTAL_BETWEEN.
        """
        rows = [row for ids, group in _by_series(increments) for row in self._add_to(ids, group, batch)]
        while len(self._totals) > self._most:
            # Evicting a series of this very batch is safe: the next batch is prepared after this one is written, and reads
            # the total back from the hot tier.
            self._totals.popitem(last=False)
        return rows

    def _add_to(self, ids: Ids, increments: Sequence[Increment[T]], batch: int) -> list[Row[T]]:
        before = self._totals.get(ids[1])
        # The total includes this batch already: a writer died after storing it and before committing.
        if before is not None and before.batch == batch:
            return []
        stands_ms = -1 if before is None else before.time_ms
        if len(increments) == 1:
            ((time_ms, _, amount),) = increments
            # A series must not go back in time: a late increment raises the total at the total's own time.
            end = Total(max(time_ms, stands_ms), amount if before is None else self._plus(before.value, amount), batch)
            return [self._ends(ids, end)]
        totals: dict[int, T] = {}
        value = None if before is None else before.value
        for time_ms, _, amount in increments:
            value = amount if value is None else self._plus(value, amount)
            totals[max(time_ms, stands_ms)] = value
        *between, (last_ms, last) = totals.items()
        # The previous total must stay readable until the total that includes this batch is written: an intermediate row must not
        # replace it, or a repeat after a crash would start from a total with part of this batch.
        rows = [Row(ids, Total(time_ms, total, TOTAL_BETWEEN)) for time_ms, total in between if time_ms != stands_ms]
        return [*rows, self._ends(ids, Total(last_ms, last, batch))]

    def _ends(self, ids: Ids, total: Total[T]) -> Row[T]:
        self._totals[ids[1]] = total
        # Least recently written first, for eviction; an evicted series is read back from the hot tier.
        self._totals.move_to_end(ids[1])
        return Row(ids, total)


def _by_series(increments: Sequence[Increment[T]]) -> Iterable[tuple[Ids, Sequence[Increment[T]]]]:
    """The increments of each series, in order. The usual case, one increment a series, is answered without building lists."""
    if len({increment.ids for increment in increments}) == len(increments):
        return ((increment.ids, (increment,)) for increment in increments)
    groups: dict[Ids, list[Increment[T]]] = {}
    for increment in increments:
        groups.setdefault(increment.ids, []).append(increment)
    return groups.items()


def encode_totals(samples: Sequence[Row[float]], histograms: Sequence[Row[Histogram]]) -> bytes:
    """The rows as an encoded ``TotalBatch``."""
    batch = TotalBatch(
        metric=[row.ids[0] for row in samples],
        series=[row.ids[1] for row in samples],
        time_ms=[row.total.time_ms for row in samples],
        value=[row.total.value for row in samples],
        batch=[row.total.batch for row in samples],
        histogram_batch=[row.total.batch for row in histograms],
    )
    for row in histograms:
        batch.histograms.add().CopyFrom(row.total.value)
        batch.histograms[-1].time_ms = row.total.time_ms
    return batch.SerializeToString()
