"""Random expressions over the series of the differential test, limited to what two versions of Prometheus answer alike.

They omit what 2.42 does differently (``stddev`` of infinities, predictions from a fixed window), and what depends on the order of
equal values (``topk``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

SELECTORS = (
    "temperature", 'temperature{room=~"k.*|bath"}', "sparse", "odd", "requests_total", 'requests_total{code="500"}', 'requests_total{job="api"}',
    "build_info", "sparse_total", "seconds_bucket", "seconds_sum", "seconds_count", '{job="web",code!=""}', "nothing",
)  # fmt: skip
MODIFIERS = (*[""] * 5, " offset 4m", " offset -3m", " @ 1790004007", " @ end()", " @ start() offset 90s")
OVER_A_RANGE = (
    "rate", "irate", "increase", "delta", "idelta", "deriv", "changes", "resets", "avg_over_time", "min_over_time", "max_over_time",
    "sum_over_time", "count_over_time", "last_over_time", "present_over_time", "absent_over_time",
)  # fmt: skip
OF_ONE = ("abs", "ceil", "floor", "exp", "sqrt", "ln", "sgn", "timestamp", "sort", "absent", "-")
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "group")
OPERATORS = ("+", "-", "*", "/", "==", ">", "%", "^", "!=", "<", ">=", "<=")
GROUPINGS = (
    "", " by (job)", " without (instance)", " by (room)", " by (code, job)", " by ()", " without ()", " by (__name__)",
)  # fmt: skip
MATCHINGS = (
    "", "on (job)", "ignoring (code)", "on (job, instance) group_left ()", "on (room)", "on () group_left ()", "ignoring (code) group_right ()",
)  # fmt: skip


@dataclass(frozen=True)
class Maker:
    """Generates expressions, with ``chance`` as the source of randomness."""

    chance: random.Random

    def vector(self, depth: int) -> str:
        """An instant vector expression, of at most the given depth."""
        if depth <= 0:
            return self._of(SELECTORS) + self._of(MODIFIERS)
        below = depth - 1
        forms: tuple[Callable[[], str], ...] = (
            lambda: self.vector(0),
            lambda: f"{self._of(OVER_A_RANGE)}({self._range(below)})",
            lambda: f"{self._of(OVER_A_RANGE)}({self._range(below)})",
            lambda: f"{self._of(OF_ONE)}({self.vector(below)})",
            lambda: f"{self._of(AGGREGATIONS)}{self._of(GROUPINGS)} ({self.vector(below)})",
            lambda: f"quantile({self._of(('0.3', '0.9'))}, {self.vector(below)})",
            lambda: f"({self.vector(below)}) {self._of(OPERATORS)} {self._scalar(below)}",
            lambda: f"({self.vector(below)}) {self._of(OPERATORS[:6])} {self._of(MATCHINGS)} ({self.vector(below)})",
            lambda: f"({self.vector(below)}) {self._of(('and', 'or', 'unless'))} {self._of(MATCHINGS[:3])} ({self.vector(below)})",
            lambda: f"quantile_over_time(0.4, {self._range(below)})",
        )
        return self._of(forms)()

    def _range(self, depth: int) -> str:
        if depth <= 0 or self.chance.random() < 0.7:
            return f"{self._of(SELECTORS)}[{self._of(('1m', '3m', '7m', '17m'))}]{self._of(MODIFIERS)}"
        return f"({self.vector(depth)})[{self._of(('5m', '11m'))}:{self._of(('50s', '1m', '100s', ''))}]{self._of(MODIFIERS)}"

    def _scalar(self, depth: int) -> str:
        if self.chance.random() < 0.5:
            return self._of(("2", "0.5", "-1", "time()", "100", "1e3", "NaN", "Inf"))
        return f"scalar({self.vector(depth)})"

    def _of(self, several: Sequence[T]) -> T:
        return self.chance.choice(several)
