"""The aggregations of PromQL, one record each: the type of the parameter, and whether the aggregation is experimental."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Aggregator:
    """One aggregation; ``parameter`` is the type of its first argument, None where it has no parameter."""

    name: str
    parameter: Literal["scalar", "string"] | None = None
    experimental: bool = False


_ALL = (
    *(Aggregator(name) for name in ("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar")),
    *(Aggregator(name, "scalar") for name in ("topk", "bottomk", "quantile")),
    Aggregator("count_values", "string"),
    Aggregator("limitk", "scalar", experimental=True),
    Aggregator("limit_ratio", "scalar", experimental=True),
)
AGGREGATORS = {aggregator.name: aggregator for aggregator in _ALL}
