"""The functions over range windows, one record each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from tael.model.series import Bools, Floats
from tael.vectors.histograms import over_time as native
from tael.vectors.histograms import rates as native_rates
from tael.vectors.histograms.over_time import OfHistograms
from tael.vectors.ranges import over_time, rate, trend
from tael.vectors.windows import Windows

OfFloats: TypeAlias = "Callable[..., tuple[Floats, Bools]]"
"""From windows and further arguments (arrays of one number a step) to values and a mask of where they exist, series by step."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Whether growth treats a decrease as a counter reset, and whether it is divided by the range in seconds."""

    counter: bool
    per_second: bool


@dataclass(frozen=True, slots=True)
class RangeFunction:
    """One function over range windows.

    ``histograms`` is None where native histograms are ignored. ``any_sample`` says that a histogram counts like a float. ``keeps_name`` is
    for functions that return samples unchanged. ``growth`` and ``events`` say how it reads ranges that are anchored or smoothed: as growth
    between values at the edges (both modifiers), or as events from the first edge on (``anchored`` alone). ``noted_at_call`` says that
    annotations on histograms point at the call and not at its range.
    """

    name: str
    floats: OfFloats
    histograms: OfHistograms | None = None
    any_sample: bool = False
    keeps_name: bool = False
    growth: Growth | None = None
    events: bool = False
    noted_at_call: bool = False

    @property
    def of_counters(self) -> bool:
        """Whether it is meant for counters, so that a name without a counter's suffix is noted."""
        return self.growth is not None and self.growth.counter


def _growth(name: str, *, counter: bool, per_second: bool = False) -> RangeFunction:
    kind = Growth(counter, per_second)
    grown = partial(native_rates.growth, counter=counter, per_second=per_second)
    return RangeFunction(name, partial(rate.increase, counter=counter, per_second=per_second), OfHistograms(grown), growth=kind)


def _last_two(name: str, *, counter: bool) -> RangeFunction:
    histograms = OfHistograms(partial(native_rates.instant, counter=counter))
    return RangeFunction(name, partial(rate.instant, rate=counter), histograms, noted_at_call=True)


def _picked(pick: Callable[[Windows], Floats]) -> OfFloats:
    return lambda windows: (pick(windows), windows.counts > 0)


_ALL = (
    _growth("rate", counter=True, per_second=True),
    _growth("increase", counter=True),
    _growth("delta", counter=False),
    _last_two("irate", counter=True),
    _last_two("idelta", counter=False),
    RangeFunction("changes", rate.changes, native.CHANGES, events=True),
    RangeFunction("resets", rate.resets, native.RESETS, events=True),
    RangeFunction("deriv", trend.slope),
    RangeFunction("predict_linear", trend.prediction),
    RangeFunction("double_exponential_smoothing", trend.smoothed),
    RangeFunction("sum_over_time", over_time.total, native.SUM),
    RangeFunction("avg_over_time", over_time.average, native.AVERAGE),
    RangeFunction("min_over_time", partial(over_time.extreme, largest=False)),
    RangeFunction("max_over_time", partial(over_time.extreme, largest=True)),
    RangeFunction("stddev_over_time", over_time.deviation),
    RangeFunction("stdvar_over_time", over_time.variance),
    RangeFunction("mad_over_time", over_time.median_deviation),
    RangeFunction("quantile_over_time", over_time.quantile),
    RangeFunction("count_over_time", _picked(lambda windows: windows.counts.astype(np.float64)), native.COUNT),
    RangeFunction("present_over_time", _picked(lambda windows: np.ones(windows.lo.shape)), native.PRESENT),
    RangeFunction("last_over_time", _picked(lambda windows: windows.last(windows.values)), native.LAST, keeps_name=True),
    RangeFunction("first_over_time", _picked(lambda windows: windows.first(windows.values)), native.FIRST, keeps_name=True),
    RangeFunction("ts_of_max_over_time", partial(over_time.time_of_extreme, largest=True)),
    RangeFunction("ts_of_min_over_time", partial(over_time.time_of_extreme, largest=False)),
    RangeFunction("ts_of_last_over_time", _picked(lambda windows: windows.last(windows.times_ms) / 1000), any_sample=True),
    RangeFunction("ts_of_first_over_time", _picked(lambda windows: windows.first(windows.times_ms) / 1000), any_sample=True),
)
FUNCTIONS = {function.name: function for function in _ALL}
