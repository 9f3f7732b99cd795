"""Functions over a range: those of ``tael.vectors`` under their own names, and two built on them."""

from __future__ import annotations

import numpy as np

from tael.promql.ast import ValueType
from tael.promql.functions.record import Arguments, Function
from tael.vectors import labels, vectors
from tael.vectors.ranges import call
from tael.vectors.ranges.functions import FUNCTIONS as ALGEBRA
from tael.vectors.values import Vector


def _over(name: str, *further: ValueType, experimental: bool = False, by_step: bool = False) -> Function:
    function = ALGEBRA[name]
    arguments: tuple[ValueType, ...] = ("matrix", *further)
    return Function(
        name, arguments, "vector", lambda given: given.over(function), experimental=experimental, by_step=by_step, over=function
    )


def _quantile(arguments: Arguments) -> Vector:
    q, ranges = arguments.scalar(0), arguments.ranges(1)
    place = arguments.at(0)
    call.note_quantiles_of(ranges, q, arguments.notes, place)
    return call.call(ALGEBRA["quantile_over_time"], ranges, [q], arguments.notes, (place, place), arguments.check)


def _absent(arguments: Arguments) -> Vector:
    present = np.any(arguments.ranges(0).present, axis=0)
    return vectors.absent(labels.absent_labels(arguments.matchers(0)), present)


FUNCTIONS = (
    _over("rate"),
    _over("increase"),
    _over("delta"),
    _over("irate"),
    _over("idelta"),
    _over("changes"),
    _over("resets"),
    _over("deriv"),
    _over("predict_linear", "scalar", by_step=True),
    _over("double_exponential_smoothing", "scalar", "scalar", experimental=True),
    _over("sum_over_time"),
    _over("avg_over_time"),
    _over("min_over_time"),
    _over("max_over_time"),
    _over("count_over_time"),
    _over("present_over_time"),
    _over("last_over_time"),
    _over("first_over_time", experimental=True),
    _over("stddev_over_time"),
    _over("stdvar_over_time"),
    _over("mad_over_time", experimental=True),
    _over("ts_of_max_over_time", experimental=True),
    _over("ts_of_min_over_time", experimental=True),
    _over("ts_of_last_over_time", experimental=True),
    _over("ts_of_first_over_time", experimental=True),
    Function("quantile_over_time", ("scalar", "matrix"), "vector", _quantile),
    Function("absent_over_time", ("matrix",), "vector", _absent),
)
