"""The functions of PromQL: what each takes and gives. What they do is the evaluator's.

``variadic`` is how often the last argument may be left out or repeated: 0 means exactly the arguments named, ``n`` up to ``n`` of the last one
including none, -1 any number including none.
"""

from __future__ import annotations

from dataclasses import dataclass

from tael.promql.ast import ValueType


@dataclass(frozen=True, slots=True)
class Function:
    """One function's signature; an experimental one parses only where the setting allows it."""

    name: str
    arguments: tuple[ValueType, ...]
    returns: ValueType
    variadic: int = 0
    experimental: bool = False


_OF_VECTOR = """
abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count histogram_stddev histogram_stdvar
histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh timestamp
"""
_OF_RANGE = """
absent_over_time avg_over_time changes count_over_time delta deriv idelta increase irate last_over_time max_over_time min_over_time
present_over_time rate resets stddev_over_time stdvar_over_time sum_over_time
"""
_OF_RANGE_EXPERIMENTAL = """
first_over_time mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time
"""
_OF_TIME = "days_in_month day_of_month day_of_week day_of_year hour minute month year"


def _table() -> dict[str, Function]:
    table = [
        *(Function(name, ("vector",), "vector") for name in _OF_VECTOR.split()),
        *(Function(name, ("matrix",), "vector") for name in _OF_RANGE.split()),
        *(Function(name, ("matrix",), "vector", experimental=True) for name in _OF_RANGE_EXPERIMENTAL.split()),
        *(Function(name, ("vector",), "vector", variadic=1) for name in _OF_TIME.split()),
        *(Function(name, (), "scalar") for name in ("time", "pi")),
        *(Function(name, (), "scalar", experimental=True) for name in ("start", "end", "step", "range")),
        *(Function(name, ("scalar", "scalar"), "scalar", experimental=True) for name in ("max_of", "min_of")),
        *(Function(name, ("vector", "string"), "vector", -1, experimental=True) for name in ("sort_by_label", "sort_by_label_desc")),
        Function("clamp", ("vector", "scalar", "scalar"), "vector"),
        Function("clamp_max", ("vector", "scalar"), "vector"),
        Function("clamp_min", ("vector", "scalar"), "vector"),
        Function("double_exponential_smoothing", ("matrix", "scalar", "scalar"), "vector", experimental=True),
        Function("histogram_fraction", ("scalar", "scalar", "vector"), "vector"),
        Function("histogram_quantile", ("scalar", "vector"), "vector"),
        Function("histogram_quantiles", ("vector", "string", "scalar", "scalar"), "vector", variadic=9, experimental=True),
        Function("info", ("vector", "vector"), "vector", variadic=1, experimental=True),
        Function("label_join", ("vector", "string", "string", "string"), "vector", variadic=-1),
        Function("label_replace", ("vector", "string", "string", "string", "string"), "vector"),
        Function("predict_linear", ("matrix", "scalar"), "vector"),
        Function("quantile_over_time", ("scalar", "matrix"), "vector"),
        Function("round", ("vector", "scalar"), "vector", variadic=1),
        Function("scalar", ("vector",), "scalar"),
        Function("vector", ("scalar",), "vector"),
    ]
    return {function.name: function for function in table}


FUNCTIONS = _table()
EXPERIMENTAL_AGGREGATORS = ("limitk", "limit_ratio")
WITH_SCALAR = ("topk", "bottomk", "quantile", "limitk", "limit_ratio")
"""The aggregators whose parameter is a number; ``count_values`` takes a label's name."""
WITH_PARAMETER = (*WITH_SCALAR, "count_values")
