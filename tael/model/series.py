"""Series and samples as they are queried: labels, matchers, and samples of many series as arrays.

Times are milliseconds since the epoch, as in Prometheus. A label set never holds a label with an empty value: that means the same as no
label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tael.model.patterns import compiled

if TYPE_CHECKING:
    from tael.model.histogram import Histograms

Floats: TypeAlias = "npt.NDArray[np.float64]"
Longs: TypeAlias = "npt.NDArray[np.int64]"
Serials: TypeAlias = "npt.NDArray[np.uint64]"
Bools: TypeAlias = "npt.NDArray[np.bool_]"

Labels: TypeAlias = "tuple[tuple[str, str], ...]"
"""A label set: pairs sorted by name, without empty values. ``__name__`` is the metric's name."""

METRIC_NAME = "__name__"
TARGET_INFO = "target_info"
"""The metric whose series have a resource's attributes as labels."""
STALE_BITS = 0x7FF0000000000002
"""The NaN that marks the end of a series (Prometheus, ``value.StaleNaN``); compare bits, never values."""
STALE = float(np.uint64(STALE_BITS).view(np.float64))

TOO_MANY_SAMPLES = "query processing would load too many samples into memory in query execution"
TOO_MANY_SERIES = "query processing would load too many series into memory in query execution"
"""The messages of TooLarge for a query beyond its limits; Prometheus' words, which its clients know."""

MatchOp: TypeAlias = Literal["=", "!=", "=~", "!~"]


def labels_of(mapping: Mapping[str, str]) -> Labels:
    """The label set of a mapping."""
    return tuple(sorted((name, value) for name, value in mapping.items() if value))


def is_stale(values: Floats) -> Bools:
    """A mask of the ``values`` that are the stale marker."""
    stale: Bools = values.view(np.uint64) == np.uint64(STALE_BITS)
    return stale


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; a missing label counts as the empty string. Regular expressions are RE2's, anchored at both ends."""

    name: str
    op: MatchOp
    value: str

    def matches(self, text: str) -> bool:
        """Whether a label with this value meets the condition. Raises Rejected for an invalid regular expression."""
        if self.op in ("=", "!="):
            return (self.value == text) == (self.op == "=")
        return (compiled(self.value).fullmatch(text) is not None) == (self.op == "=~")


def all_match(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Whether a series with these labels meets every condition."""
    values = dict(labels)
    return all(matcher.matches(values.get(matcher.name, "")) for matcher in matchers)


@dataclass(frozen=True, slots=True)
class Selection:
    """The series that match ``matchers``, and their samples in ``start_ms < t <= end_ms``."""

    matchers: tuple[Matcher, ...]
    start_ms: int
    end_ms: int


ROLLUP_MS = 300_000
"""The length of a rollup's bucket."""


@dataclass(frozen=True, slots=True)
class Rollups:
    """Says that an answer uses 5-minute rollups for times before ``until_ms``; ``exact``: the result is what the samples would have given.

    ``histograms``: some of it is native histograms, of which each bucket keeps a few.
    """

    until_ms: int
    exact: bool = False
    histograms: bool = False


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of ``len(labels)`` series, one series after the other, each in strictly ascending order of time.

    Series ``i`` has the samples from ``offsets[i]`` up to, not including, ``offsets[i + 1]``. A sample is a float (``values``, where
    ``histogram`` is -1) or a native histogram: then ``histogram`` is its position in ``histograms`` and its value is NaN, or the stale
    marker in a sample that ends a series of histograms. ``weights`` says how many original samples each stands for where rollups left some
    out; without it each stands for itself.
    """

    labels: Sequence[Labels]
    offsets: Longs
    times_ms: Longs
    values: Floats
    histogram: Longs | None = None
    histograms: Histograms | None = field(default=None, repr=False)
    rollups: Rollups | None = None
    weights: Floats | None = None

    @property
    def room(self) -> int:
        """Its size in float samples of the same memory; see ``Histograms.room``."""
        return len(self.times_ms) + (0 if self.histograms is None else self.histograms.room)


@dataclass(frozen=True, slots=True)
class Grid:
    """A range function already evaluated for each series at each step: NaN where ``present`` is False."""

    labels: Sequence[Labels]
    values: Floats
    present: Bools
    rollups: Rollups | None = None


GridFunction: TypeAlias = Literal[
    "last",
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "changes",
    "resets",
    "deriv",
    "predict_linear",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
]
"""The functions that a shard can evaluate on its own; ``last`` is an instant selector's lookback, with stale markers honoured."""


@dataclass(frozen=True, slots=True)
class GridRequest:
    """Evaluate ``function`` at ``start_ms, start_ms + step_ms, … <= end_ms``, each over ``(t - window_ms, t]``.

    Offsets and ``@`` are already applied to the times. ``argument`` is predict_linear's seconds.
    """

    matchers: tuple[Matcher, ...]
    function: GridFunction
    start_ms: int
    end_ms: int
    step_ms: int
    window_ms: int
    argument: float = 0.0


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family's metadata: ``type`` is Prometheus' word (counter, gauge, histogram, summary, unknown, …)."""

    name: str
    type: str
    unit: str
    help: str


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One exemplar of a series."""

    series: Labels
    time_ms: int
    value: float
    labels: Labels
