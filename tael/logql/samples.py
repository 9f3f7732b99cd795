"""Converts rows to samples: the value that a range aggregation counts, sums or unwraps from each line, series by series.

Labels that the query does not read are dropped here, so that there are no more series than the result needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from tael.errors import TooLarge
from tael.logql.ast import (
    Drop,
    Grouping,
    JsonParser,
    Keep,
    LabelFormat,
    LineFilter,
    LineFormat,
    LogfmtParser,
    LogQuery,
    PatternParser,
    RangeAggregation,
    RegexpParser,
    UnpackParser,
)
from tael.logql.errors import ERROR, PRESERVE_ERROR, PipelineError, SeriesLimit
from tael.logql.hints import Hints, hints_for
from tael.logql.pipeline import compiled_stages, labels_read
from tael.logql.quantities import go_duration_ns, go_float, size_bytes
from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.label_filter import names_read
from tael.model.series import Floats, Labels, Longs, Samples

EXTRACTION_ERROR: Final = "SampleExtractionErr"
LINE_READERS: Final = (LineFilter, JsonParser, LogfmtParser, RegexpParser, PatternParser, UnpackParser)
JOINED: Final = (
    "count_over_time", "rate", "bytes_over_time", "bytes_rate", "sum_over_time", "min_over_time", "max_over_time", "avg_over_time",
)  # fmt: skip
"""What Loki computes by shards and joins by a vector aggregation."""
BYTES: Final = ("bytes_over_time", "bytes_rate")

CONVERSIONS: Final[dict[str, Callable[[str], float]]] = {
    "": go_float,
    "bytes": size_bytes,
    "duration": lambda text: go_duration_ns(text) / 1e9,
    "duration_seconds": lambda text: go_duration_ns(text) / 1e9,
}
"""What reads an unwrapped label, by the name that ``unwrap`` gives to it. They raise ValueError."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A range aggregation, and the grouping of a ``sum`` around it where that is done at the same time."""

    aggregation: RangeAggregation
    outer: Grouping | None = None

    @property
    def query(self) -> LogQuery:
        """The query for the lines that it reads."""
        query = self.aggregation.range.query
        if self.aggregation.op in BYTES:
            return query
        # A line is made anew only for what reads it: not for counts and unwrapped labels.
        last = max((place for place, stage in enumerate(query.stages) if isinstance(stage, LINE_READERS)), default=-1)
        kept = tuple(stage for place, stage in enumerate(query.stages) if place < last or not isinstance(stage, LineFormat))
        return replace(query, stages=kept)

    def grouping(self) -> Grouping | None:
        """The labels that distinguish its series; None for all labels."""
        span, own = self.aggregation.range, self.outer or self.aggregation.grouping
        if self.aggregation.op == "absent_over_time":
            return Grouping()
        # The unwrapped label is the sample's value: kept as a label, it would make a series for each value.
        if span.unwrap is not None and (own is None or own.without):
            return Grouping((*(own.labels if own else ()), span.unwrap.label), without=True)
        return own

    def keeps_empty(self) -> bool:
        """Whether a label that is there and empty tells its series apart and is shown, as one that ``| json a="x"`` does not find.

        Loki drops it where it joins the series of several shards: those without some labels, and where fewer labels are left.
        """
        op, grouping = self.aggregation.op, self.aggregation.grouping
        if self.outer is not None:
            return not self.outer.without
        if op not in JOINED:
            return True
        if grouping is not None:
            return not grouping.without and op != "avg_over_time"
        return not any(
            isinstance(stage, Drop | Keep) or (isinstance(stage, LabelFormat) and any(item.rename for item in stage.formats))
            for stage in self.aggregation.range.query.stages
        )

    def hints(self) -> Hints:
        """The labels that parsers must find."""
        unwrap, grouping = self.aggregation.range.unwrap, self.grouping()
        read = labels_read(self.query.stages)
        for condition in unwrap.filters if unwrap else ():
            read += names_read(condition)
        own = self.outer or self.aggregation.grouping
        single = self.aggregation.op == "absent_over_time" or (own is not None and not own.labels and not own.without)
        without = grouping is not None and grouping.without
        return hints_for(
            read, grouping.labels if grouping else (), without=without, single=single, unwrapped=unwrap.label if unwrap else ""
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a query may hold: ``series``, and ``samples`` over all of them, or as many values (series by steps)."""

    series: int = 500
    samples: int = 10_000_000

    def hold(self, series: int, samples: int) -> None:
        """Raise SeriesLimit or TooLarge where so many are too many."""
        if series > self.series:
            raise SeriesLimit(self.series)
        if samples > self.samples:
            raise TooLarge(f"the query reads more than {self.samples} samples; narrow it by stream, line filter or time range")


def require_room(values: int, most: int) -> None:
    """Raise TooLarge where a query would hold more than ``most`` values. To be called before these are computed."""
    if values > most:
        raise TooLarge(f"the query makes more than {most} values (series by steps); ask for fewer series or longer steps")


@dataclass(slots=True)
class Room:
    """How many values the leaves of a query hold, at most ``most``; the threads that compute them share it."""

    most: int
    held: list[int] = field(default_factory=list)

    def take(self, values: int) -> None:
        """Hold so many more. Raises TooLarge."""
        # Appended and not added, which threads may do at the same time.
        self.held.append(values)
        require_room(sum(self.held), self.most)


class AllLabelsNeeded(Exception):
    """A line failed, which shows all of its labels: the samples have to be collected again, from rows with all metadata."""


class Extraction:
    """Collects a leaf's samples from rows in any order. Raises SeriesLimit and TooLarge when there are more than ``bounds``.

    With ``names``, rows may lack metadata under other names (``labels_told_apart``), and AllLabelsNeeded is raised where that makes a
    difference.
    """

    def __init__(self, leaf: Leaf, bounds: Bounds, names: Collection[str] | None = None, *, now_ns: int = 0) -> None:
        self.names = names
        unwrap = leaf.aggregation.range.unwrap
        self.hints = leaf.hints()
        self._bounds = bounds
        self._runs = compiled_stages(leaf.query.stages, now_ns=now_ns)
        self._after: list[Run] = compiled_stages((), unwrap.filters if unwrap else ())
        self._unwrap = unwrap.label if unwrap else ""
        self._convert = CONVERSIONS[unwrap.conversion if unwrap else ""]
        self._bytes = leaf.aggregation.op in BYTES
        self._key = _key(leaf.grouping(), empty=leaf.keeps_empty())
        self._series = _Series()

    def add(self, rows: Iterable[Row]) -> None:
        """Take the rows' samples; ``Row``s must carry ``hints``."""
        for row in rows:
            for run in self._runs:
                if not run(row):
                    break
            else:
                self._take(row)
        self._series.pack()
        self._series.bounded(self._bounds)

    def _take(self, row: Row) -> None:
        value = 1.0
        if self._unwrap:
            # A line without the label, or with an empty one, has no sample.
            text = row.get(self._unwrap)
            if not text:
                return
            value = self._unwrapped(row, text)
            if not all(run(row) for run in self._after):
                return
        elif self._bytes:
            value = float(len(row.line.encode(errors="replace")))
        if row.error and self.names is not None:
            raise AllLabelsNeeded
        self._series.add(self._key(row), row.timestamp_ns, value)

    def _unwrapped(self, row: Row, text: str) -> float:
        try:
            return self._convert(text)
        except ValueError as problem:
            # The sample is kept with the error among its labels: it fails the query (checked_errors) unless a filter after the unwrap
            # drops it.
            row.error, row.details = EXTRACTION_ERROR, str(problem)
            return 0.0

    def samples(self) -> Samples:
        """The collected samples, series by series, each in order of time; times are ns."""
        return self._series.samples()


@dataclass(slots=True)
class _Series:
    places: dict[Labels, int] = field(default_factory=dict)
    of: list[int] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    packed: list[tuple[Longs, Longs, Floats]] = field(default_factory=list)
    count: int = 0

    def add(self, labels: Labels, time_ns: int, value: float) -> None:
        self.of.append(self.places.setdefault(labels, len(self.places)))
        self.times_ns.append(time_ns)
        self.values.append(value)

    def pack(self) -> None:
        """Move added samples into arrays of 24 bytes a sample; as Python objects they take three times as much memory."""
        if self.of:
            self.packed.append((np.array(self.of, np.int64), np.array(self.times_ns, np.int64), np.array(self.values, np.float64)))
            self.count += len(self.of)
            self.of, self.times_ns, self.values = [], [], []

    def bounded(self, bounds: Bounds) -> None:
        bounds.hold(len(self.places), self.count)

    def samples(self) -> Samples:
        self.pack()
        parts = self.packed or [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
        of, times, values = (np.concatenate([part[place] for part in parts]) for place in range(3))
        # A stable sort keeps lines of the same nanosecond in their original order.
        order = np.lexsort((times, of))
        offsets = np.concatenate(([0], np.cumsum(np.bincount(of, minlength=len(self.places)))))
        return Samples(list(self.places), offsets.astype(np.int64), times[order], values[order])


def checked_errors(labels: Iterable[Labels]) -> None:
    """Raise PipelineError for a series of failed lines, unless the query reads errors."""
    for own in labels:
        named = dict(own)
        if ERROR in named and named.get(PRESERVE_ERROR) != "true":
            raise PipelineError(named)


def _key(grouping: Grouping | None, *, empty: bool) -> Callable[[Row], Labels]:
    """What tells a row's series from others. Without ``empty``, a label that is empty is none."""
    if grouping is None:
        return lambda row: _pairs(row.labels(), empty=empty)
    names = sorted(set(grouping.labels))
    hidden = frozenset(names)

    def key(row: Row) -> Labels:
        # A failed line is not grouped, so that the error's text shows its stream.
        if row.error:
            return _pairs(row.labels(), empty=empty)
        if grouping.without:
            return _pairs({name: value for name, value in row.labels().items() if name not in hidden}, empty=empty)
        if empty:
            return tuple([(name, value) for name in names if (value := row.get(name)) is not None])
        return tuple([(name, value) for name in names if (value := row.get(name))])

    return key


def _pairs(labels: Mapping[str, str], *, empty: bool) -> Labels:
    return tuple(sorted([pair for pair in labels.items() if empty or pair[1]]))
