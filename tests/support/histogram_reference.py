"""A slow reference implementation of native histograms, in plain loops over dictionaries of buckets, to compare the vectorised one with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tael.model.histogram import CUSTOM_BUCKETS, RESET_NO, RESET_YES, Histograms

Bucket = tuple[float, float, float]
"""Lower and upper bound, and count."""


@dataclass
class Plain:
    """One histogram."""

    schema: int = 0
    count: float = 0
    sum: float = 0
    width: float = 0
    zeros: float = 0
    positive: dict[int, float] = field(default_factory=dict)
    negative: dict[int, float] = field(default_factory=dict)
    bounds: tuple[float, ...] | None = None
    hint: int = 0

    @classmethod
    def at(cls, histograms: Histograms, row: int) -> Plain:
        """The histogram at ``row``."""
        sides = []
        for side in (histograms.positive, histograms.negative):
            entries = slice(side.offsets[row], side.offsets[row + 1])
            sides.append(dict(zip(side.index[entries].tolist(), side.counts[entries].tolist(), strict=True)))
        layout = int(histograms.bounds[row])
        return cls(
            int(histograms.schema[row]),
            float(histograms.count[row]),
            float(histograms.sum[row]),
            float(histograms.zero_threshold[row]),
            float(histograms.zero_count[row]),
            sides[0],
            sides[1],
            None if layout < 0 else histograms.layouts[layout],
            int(histograms.reset_hint[row]),
        )

    def limits(self, index: int) -> tuple[float, float]:
        """The lower and upper bound of bucket ``index``."""
        if self.bounds is None:
            return 2 ** ((index - 1) / 2**self.schema), 2 ** (index / 2**self.schema)
        ends = [-math.inf, *self.bounds, math.inf]
        return ends[index], ends[index + 1]

    def ascending(self) -> Iterator[Bucket]:
        """All populated buckets in ascending order; those beside the zero bucket begin at its end."""
        for index in sorted(self.negative, reverse=True):
            lower, upper = self.limits(index)
            yield -upper, -max(lower, self.width), self.negative[index]
        if self.zeros > 0:
            yield -self.width, self.width, self.zeros
        for index in sorted(self.positive):
            lower, upper = self.limits(index)
            yield (lower if self.bounds is not None else max(lower, self.width)), upper, self.positive[index]

    def halved(self, lower: float, upper: float) -> tuple[float, float]:
        """A bucket around 0, without the half on whose side there are no other buckets."""
        if self.positive and not self.negative:
            return 0.0, upper
        if self.negative and not self.positive:
            return lower, 0.0
        return lower, upper

    def zeros_within(self, width: float) -> tuple[float, float]:
        """The count of a zero bucket of ``width``, and the width that it needs in order not to cut a populated bucket."""
        while True:
            cut = [self.limits(i)[1] for side in (self.positive, self.negative) for i in side if self._cuts(i, width)]
            if not cut or width == self.width:
                break
            width = max(cut)
        inside = [count for side in (self.positive, self.negative) for i, count in side.items() if self.limits(i)[1] <= width]
        return (self.zeros, width) if width == self.width else (self.zeros + sum(inside), width)

    def _cuts(self, index: int, width: float) -> bool:
        lower, upper = self.limits(index)
        return lower < width < upper

    def widened(self, width: float) -> Plain:
        """The histogram with a zero bucket of ``width``, which must not cut a bucket."""
        if width == self.width:
            return self
        zeros, _ = self.zeros_within(width)
        kept = [{i: count for i, count in side.items() if self.limits(i)[1] > width} for side in (self.positive, self.negative)]
        return Plain(self.schema, self.count, self.sum, width, zeros, kept[0], kept[1], self.bounds, self.hint)

    def coarser(self, schema: int) -> Plain:
        """The histogram at a lower resolution."""

        def merged(side: dict[int, float]) -> dict[int, float]:
            result: dict[int, float] = {}
            for index, count in side.items():
                target = math.ceil(index / 2 ** (self.schema - schema))
                result[target] = result.get(target, 0) + count
            return result

        return Plain(
            schema, self.count, self.sum, self.width, self.zeros, merged(self.positive), merged(self.negative), self.bounds, self.hint
        )

    def rebounded(self, bounds: tuple[float, ...]) -> Plain:
        """The histogram with only some of its custom bounds."""
        result: dict[int, float] = {}
        for index, count in self.positive.items():
            upper = self.limits(index)[1]
            target = next((i for i, bound in enumerate(bounds) if bound >= upper), len(bounds))
            result[target] = result.get(target, 0) + count
        return Plain(self.schema, self.count, self.sum, 0, 0, result, {}, bounds, self.hint)

    def plus(self, other: Plain, factor: float = 1) -> Plain | None:
        """The sum of this and ``factor`` times another; None if their kinds of buckets differ."""
        if (self.bounds is None) != (other.bounds is None):
            return None
        left, right = _reconciled(self, other)

        def joined(one: dict[int, float], two: dict[int, float]) -> dict[int, float]:
            keys = {*one, *two}
            counts = {key: one.get(key, 0) + factor * two.get(key, 0) for key in keys}
            return {key: count for key, count in counts.items() if count}

        return Plain(
            left.schema,
            left.count + factor * right.count,
            left.sum + factor * right.sum,
            left.width,
            left.zeros + factor * right.zeros,
            joined(left.positive, right.positive),
            joined(left.negative, right.negative),
            left.bounds,
        )

    def reset_after(self, before: Plain) -> bool:
        """Whether the counter was reset between ``before`` and this."""
        if self.hint in (RESET_YES, RESET_NO):
            return self.hint == RESET_YES
        if self.count < before.count or (self.bounds is None) != (before.bounds is None):
            return True
        if self.bounds is not None and before.bounds is not None:
            common = tuple(bound for bound in self.bounds if bound in before.bounds)
            return _less(self.rebounded(common).positive, before.rebounded(common).positive)
        if self.schema > before.schema or self.width < before.width:
            return True
        zeros, width = before.zeros_within(self.width)
        if width != self.width or self.zeros < zeros:
            return True
        earlier = before.widened(self.width).coarser(self.schema)
        return _less(self.positive, earlier.positive) or _less(self.negative, earlier.negative)

    def quantile(self, q: float) -> float:
        """The value below which the fraction ``q`` of the observations lies."""
        if not self.count or math.isnan(q):
            return math.nan
        below, reached, rank = q < 0.5, 0.0, q * self.count if q < 0.5 else (1 - q) * self.count
        buckets = list(self.ascending()) if below else list(self.ascending())[::-1]
        for lower, upper, count in buckets:
            reached += count
            found = (lower, upper, count)
            if reached > rank or (not below and reached >= rank):
                break
        lower, upper, count = found
        if self.bounds is None and lower < 0 < upper:
            lower, upper = self.halved(lower, upper)
        if lower == -math.inf:
            if upper <= 0:
                return upper
            lower = 0
        elif upper == math.inf and self.bounds is not None:
            return lower
        share = (rank - (reached - count)) / count if below else (reached - rank) / count
        if self.bounds is not None or lower <= 0 <= upper:
            return lower + (upper - lower) * share
        if lower > 0:
            return float(lower * (upper / lower) ** share)
        return float(upper * (lower / upper) ** (1 - share))

    def rank(self, value: float) -> float:
        """The number of observations below ``value``."""
        total = 0.0
        for begin, end, count in self.ascending():
            around = begin <= 0 <= end
            lower, upper = self.halved(begin, end) if around else (begin, end)
            if lower >= value:
                return total
            if upper > value:
                if self.bounds is None and not around:
                    share = math.log(abs(value / lower), abs(upper / lower))
                    return total + count * share
                return count if lower == -math.inf else total + count * (value - lower) / (upper - lower)
            total += count
        return self.count


def _reconciled(left: Plain, right: Plain) -> tuple[Plain, Plain]:
    if left.bounds is not None and right.bounds is not None:
        common = tuple(bound for bound in left.bounds if bound in right.bounds)
        return left.rebounded(common), right.rebounded(common)
    width = max(left.width, right.width)
    while True:
        wider = max(side.zeros_within(width)[1] for side in (left, right) if side.width <= width)
        if wider == width:
            break
        width = wider
    schema = min(left.schema, right.schema)
    return left.widened(width).coarser(schema), right.widened(width).coarser(schema)


def _less(now: dict[int, float], before: dict[int, float]) -> bool:
    return any(now.get(index, 0) < count for index, count in before.items())


def same(left: Plain, right: Plain, close: Callable[[float, float], bool]) -> bool:
    """Whether two histograms have the same layout and ``close`` counts."""
    if (left.schema, left.bounds) != (right.schema, right.bounds) or not close(left.width, right.width):
        return False
    if left.schema == CUSTOM_BUCKETS and left.positive.keys() != right.positive.keys():
        return False
    pairs = [(left.count, right.count), (left.sum, right.sum), (left.zeros, right.zeros)]
    for one, two in ((left.positive, right.positive), (left.negative, right.negative)):
        pairs += [(one.get(key, 0), two.get(key, 0)) for key in {*one, *two}]
    return all(close(*pair) for pair in pairs)
