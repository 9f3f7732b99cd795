"""The result of translating a request: samples and deltas as columns, everything else as messages, and the refusals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from struct import Struct
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from tael.metrics.cache import PAIR_BYTES, Ids, Known, Learned
from tael.metrics.identity import HOUR_MS, MAX_TIME_MS, metric_id, series_id
from tael.model.lanes import Near
from tael.model.series import METRIC_NAME, Labels, labels_of
from tael.otlp.census import too_many
from tael.otlp.scan import Refusals, too_old
from tael.pb.metrics_pb2 import Exemplar, Family, Histogram, Series

T = TypeVar("T")
_IDS = Struct("<QQ")
_NS_PER_MS = 1_000_000
AdmitSeries: TypeAlias = "Callable[[str, str, Labels], str]"
"""Takes tenant, metric name and labels; returns why the tenant may not have this series, or "" if it may. It is called for every series
that is not in the cache, so repeatedly for the same one."""

MAX_LABEL_CHARACTERS = 32 << 10
"""The limit of a series' labels, names and values together. Longer ones are refused, not truncated, which would make another series."""
MAX_HELP_CHARACTERS = 4 << 10
MAX_BUCKETS = 10_000
"""The limit for one sign of a native histogram; exponential histograms have 160 by default."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """What is accepted: times from ``oldest_ms`` (defined by the setting ``oldest_set_by``) to ``newest_ms``, and up to ``points`` per
    request.
    """

    oldest_ms: int = 0
    newest_ms: int = MAX_TIME_MS - 1
    points: int = 1 << 40
    oldest_set_by: str = ""

    def holds(self, time_ms: npt.NDArray[np.int64]) -> bool:
        """Whether all of these times (at least one) are accepted."""
        return bool(self.oldest_ms <= time_ms.min() and time_ms.max() <= self.newest_ms)

    def require_few(self, points: int) -> None:
        """Raise TooLarge for a request with too many points."""
        if points > self.points:
            raise too_many("points", self.points)


ANY = Accepts()


class Refused(Exception):
    """One point cannot be stored; caught where points are counted, so that the others can."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples or increments: metric id, series id, time and value of each."""

    metric: npt.NDArray[np.uint64]
    series: npt.NDArray[np.uint64]
    time_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.series)

    def ordered(self) -> Columns:
        """The rows by series and time, so that a request yields the same order however much of it was decoded in bulk."""
        # All samples of a scrape have one time, for which sorting by one key suffices.
        one_time = len(self) and (self.time_ms == self.time_ms[0]).all()
        return self.take(np.argsort(self.series) if one_time else np.lexsort((self.time_ms, self.series)))

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> Columns:
        """The given rows."""
        return Columns(self.metric[rows], self.series[rows], self.time_ms[rows], self.value[rows])


@dataclass(frozen=True, slots=True)
class Translation:
    """A translated request. ``items`` counts its points, including refused ones; ``learned`` is added to the cache once everything is
    durable.
    """

    samples: Columns
    deltas: Columns
    histograms: Sequence[Histogram]
    delta_histograms: Sequence[Histogram]
    exemplars: Sequence[Exemplar]
    new_series: Sequence[Series]
    families: Sequence[Family]
    items: int
    refusals: Refusals
    learned: list[Learned]

    def apart(self, near: Near) -> tuple[Translation, Translation | None]:
        """The part near now, and the rest, None if it is empty; series are announced with their samples.

        Increments and metadata are always in the first part: all increments of a series must be in one WAL, in order
        (``lanes.counted_at_ms``). The rest is ordered by time, so that its halves, if it has to be cut, span fewer hours.
        """
        since_ms, until_ms = near.since_ns // _NS_PER_MS, near.until_ns // _NS_PER_MS
        samples = self.samples
        is_near = (since_ms <= samples.time_ms) & (samples.time_ms < until_ms)
        series = _apart(self.new_series, lambda one: since_ms <= one.hour * 1000 < until_ms)
        histograms = _apart(self.histograms, lambda one: since_ms <= one.time_ms < until_ms)
        exemplars = _apart(self.exemplars, lambda one: since_ms <= one.time_ms < until_ms)
        if is_near.all() and not (series[1] or histograms[1] or exemplars[1]):
            return self, None
        far = samples.take(~is_near)
        return (
            replace(self, samples=samples.take(is_near), new_series=series[0], histograms=histograms[0], exemplars=exemplars[0]),
            replace(
                self,
                samples=far.take(np.lexsort((far.series, far.time_ms))),
                new_series=sorted(series[1], key=lambda one: one.hour),
                histograms=sorted(histograms[1], key=lambda one: one.time_ms),
                exemplars=sorted(exemplars[1], key=lambda one: one.time_ms),
                deltas=self.deltas.take(slice(0)),
                delta_histograms=(),
                families=(),
            ),
        )


def _apart(items: Sequence[T], belongs: Callable[[T], bool]) -> tuple[Sequence[T], Sequence[T]]:
    """The items that belong, and the others."""
    return [item for item in items if belongs(item)], [item for item in items if not belongs(item)]


@dataclass(slots=True)
class Growing:
    """Columns under construction: single rows, and chunks that were decoded together."""

    ids: list[Ids] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    chunks: list[Columns] = field(default_factory=list)

    def add(self, ids: Ids, time_ms: int, values: Sequence[float]) -> None:
        """Add rows of one time, one for each pair of ids. Raises ValueError for another number of values, which would shift all
        later rows.
        """
        if len(ids) != len(values) * PAIR_BYTES:
            raise ValueError(f"{len(values)} values do not fit {len(ids) // PAIR_BYTES} series")
        self.ids.append(ids)
        self.times_ms += [time_ms] * len(values)
        self.values += values

    def finish(self) -> Columns:
        """All rows, ordered."""
        rows = columns(b"".join(self.ids), np.array(self.times_ms, np.int64), np.array(self.values, np.float64))
        if not self.chunks:
            return rows.ordered()
        parts = [rows, *self.chunks]
        return Columns(
            np.concatenate([part.metric for part in parts]),
            np.concatenate([part.series for part in parts]),
            np.concatenate([part.time_ms for part in parts]),
            np.concatenate([part.value for part in parts]),
        ).ordered()


def columns(ids: bytes, time_ms: npt.NDArray[np.int64], value: npt.NDArray[np.float64]) -> Columns:
    """Columns from joined ids, times and values."""
    pairs = np.frombuffer(ids, "<u8").reshape(-1, 2)
    return Columns(pairs[:, 0], pairs[:, 1], time_ms, value)


@dataclass(slots=True)
class Draft:
    """A translation under construction, for one tenant and request."""

    tenant: str
    now_ms: int
    admit_series: AdmitSeries
    accepts: Accepts = ANY
    samples: Growing = field(default_factory=Growing)
    deltas: Growing = field(default_factory=Growing)
    histograms: list[Histogram] = field(default_factory=list)
    delta_histograms: list[Histogram] = field(default_factory=list)
    exemplars: list[Exemplar] = field(default_factory=list)
    new_series: dict[tuple[int, int], Series] = field(default_factory=dict)
    families: dict[tuple[str, ...], Family] = field(default_factory=dict)
    items: int = 0
    refusals: Refusals = field(default_factory=Refusals)
    learned: dict[tuple[Known, int, Hashable], Ids] = field(default_factory=dict)

    def time_ms(self, time_ms: int, *, least: int = 1) -> int:
        """A point's checked time. Raises Refused for one that cannot be stored, is not accepted, or is before ``least``.

        In OTLP, 0 means that there is no time; in remote write it is the first millisecond of 1970.
        """
        if not least <= time_ms < MAX_TIME_MS:
            raise Refused("missing timestamp" if time_ms == 0 else "its time is before 1970 or after 2105")
        if time_ms < self.accepts.oldest_ms:
            raise Refused(too_old("its time", self.accepts.oldest_set_by))
        if time_ms > self.accepts.newest_ms:
            raise Refused(f"its time is more than {(self.accepts.newest_ms - self.now_ms) / 1000:g} s ahead (TAEL_REMOTE_WRITE_AHEAD_SECS)")
        return time_ms

    def identify(self, known: Known, time_ms: int, key: Hashable, label_sets: Callable[[], Sequence[dict[str, str]]]) -> Ids:
        """The ids of the series identified by ``key``, which are announced if they are not known for the hour of ``time_ms``.

        Raises Refused when the tenant may not have one of them; then none is announced.
        """
        hour = time_ms - time_ms % HOUR_MS
        ids = known.at(hour).get(key) or self.learned.get((known, hour, key))
        if ids is None:
            announced = [self._announcement(labels_of(labels), hour) for labels in label_sets()]
            ids = b"".join([_IDS.pack(series.metric, series.series) for series in announced])
            # All are created before any is stored, as any of them may be refused.
            self.new_series |= {(series.series, hour): series for series in announced}
            self.learned[known, hour, key] = ids
        return ids

    def _announcement(self, labels: Labels, hour: int) -> Series:
        if sum(map(len, chain.from_iterable(labels))) > MAX_LABEL_CHARACTERS:
            raise Refused(f"its labels have more than {MAX_LABEL_CHARACTERS} characters")
        name = dict(labels)[METRIC_NAME]
        metric, series = metric_id(name), series_id(self.tenant, labels)
        # Announced by this request already: the limiter has counted it.
        if found := self.new_series.get((series, hour)):
            return found
        if reason := self.admit_series(self.tenant, name, labels):
            raise Refused(reason)
        names, values = zip(*labels, strict=True)
        return Series(metric=metric, series=series, hour=hour // 1000, label_names=names, label_values=values)

    def describe(self, known: Known, name: str, kind: str, unit: str, text: str) -> None:
        """Announce a metric family's metadata, once an hour."""
        hour, text = self.now_ms - self.now_ms % HOUR_MS, text[:MAX_HELP_CHARACTERS]
        # Everything is part of the key, so that changed metadata is announced again.
        key = (name, kind, unit, text)
        if key not in self.families and key not in known.at(hour):
            self.families[key] = Family(name=name, type=kind, unit=unit, help=text, hour=hour // 1000)
            self.learned[known, hour, key] = b""

    def refuse(self, position: int, reason: str, where: str) -> None:
        """Record a refused point."""
        self.refusals.add(position, reason, where)

    def finish(self) -> Translation:
        """The finished translation."""
        return Translation(
            self.samples.finish(),
            self.deltas.finish(),
            self.histograms,
            self.delta_histograms,
            self.exemplars,
            list(self.new_series.values()),
            list(self.families.values()),
            self.items,
            self.refusals,
            [(known, hour, key, ids) for (known, hour, key), ids in self.learned.items()],
        )


def unpack(ids: Ids) -> list[tuple[int, int]]:
    """The metric id and series id of each pair."""
    return list(_IDS.iter_unpack(ids))
