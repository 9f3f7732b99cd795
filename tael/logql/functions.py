"""The range functions over windows of samples, each ``(end - range, end]``. Times are nanoseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from tael.logql.ast import RangeAggregation
from tael.logql.samples import checked_errors
from tael.model.series import Bools, Floats, Labels, Samples
from tael.vectors import vectors
from tael.vectors.labels import absent_labels
from tael.vectors.ranges import over_time
from tael.vectors.ranges.rate import increase
from tael.vectors.values import Steps, Vector
from tael.vectors.windows import Windows, windows

_SECOND: Final = 1e9
_Function = Callable[[Windows], tuple[Floats, Bools]]


def of_samples(aggregation: RangeAggregation, samples: Samples, steps: Steps) -> Vector:
    """A range aggregation at ``steps`` (ns). Raises PipelineError for a series of failed lines."""
    ends = shifted(steps, aggregation.range.offset_ns)
    own = windows(samples.offsets, samples.times_ms, samples.values, ends, steps.times_ms, aggregation.range.range_ns)
    with np.errstate(all="ignore"):
        values, present = _function(aggregation)(own)
    return finished(aggregation, samples.labels, values, present)


def finished(aggregation: RangeAggregation, labels: Sequence[Labels], values: Floats, present: Bools) -> Vector:
    """The vector of a range function's values; ``absent_over_time`` is inverted. Raises PipelineError."""
    checked_errors(labels[row] for row in np.flatnonzero(present.any(axis=1)).tolist())
    if aggregation.op == "absent_over_time":
        somewhere: Bools = np.logical_or.reduce(present, axis=0)
        return vectors.absent(absent_labels(aggregation.range.query.matchers), somewhere)
    return vectors.without_empty(Vector(labels, values, present))


def shifted(steps: Steps, offset_ns: int) -> Steps:
    """The steps moved back by an offset."""
    return Steps(steps.start_ms - offset_ns, steps.end_ms - offset_ns, steps.step_ms)


def per_second(aggregation: RangeAggregation) -> float:
    """The divisor of a count or a sum: the range in seconds for a rate, else 1. An empty range has no samples to divide."""
    rate = aggregation.op in ("rate", "bytes_rate")
    return aggregation.range.range_ns / _SECOND if rate and aggregation.range.range_ns else 1.0


def _function(aggregation: RangeAggregation) -> _Function:
    op, unwrapped = aggregation.op, aggregation.range.unwrap is not None
    if op in ("count_over_time", "absent_over_time") or (op == "rate" and not unwrapped):
        return lambda own: (own.counts / per_second(aggregation), own.counts > 0)
    if op in ("sum_over_time", "bytes_over_time", "bytes_rate", "rate"):
        return lambda own: _divided(over_time.total(own), per_second(aggregation))
    if op == "quantile_over_time":
        quantile = np.array([aggregation.param if aggregation.param is not None else np.nan])
        return lambda own: over_time.quantile(own, quantile)
    return _FUNCTIONS[op]


def _divided(found: tuple[Floats, Bools], by: float) -> tuple[Floats, Bools]:
    return found[0] / by, found[1]


def _rate_counter(own: Windows) -> tuple[Floats, Bools]:
    """Prometheus' rate; a single sample gives 0. ``increase`` expects milliseconds and gets nanoseconds here, hence the factor of a
    million.
    """
    values, enough = increase(own, counter=True, per_second=True)
    return np.where(enough, values * 1e6, 0.0), own.counts > 0


_FUNCTIONS: Final[dict[str, _Function]] = {
    "avg_over_time": over_time.average,
    "max_over_time": lambda own: over_time.extreme(own, largest=True),
    "min_over_time": lambda own: over_time.extreme(own, largest=False),
    "stdvar_over_time": over_time.variance,
    "stddev_over_time": over_time.deviation,
    "first_over_time": lambda own: (own.first(own.values), own.counts > 0),
    "last_over_time": lambda own: (own.last(own.values), own.counts > 0),
    "rate_counter": _rate_counter,
}
