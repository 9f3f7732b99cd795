"""The answer to ``sum_spans`` as sums by labels, pure. It has a row for each step, group and bucket, many times as many as series, so rows
are added up as arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tael.storage.clickhouse import native
from tael.storage.clickhouse.traceql.blocks import group_codes
from tael.traceql.ast import Field, Intrinsic, MetricsAggregate
from tael.traceql.columns import Rows
from tael.traceql.metrics import Exemplar, Grid, Labels, Sums
from tael.traceql.text import show

BUCKETED = ("quantile_over_time", "histogram_over_time")
"""Functions that count by powers of two."""


@dataclass(frozen=True, slots=True)
class _Cells:
    """The series and the step of each row."""

    group: Rows
    slot: Rows
    steps: int

    def matrix(self, weights: NDArray[np.float64], group: Rows, size: int) -> NDArray[np.float64]:
        """Sums of ``weights`` by group and step."""
        return np.bincount(group * self.steps + self.slot, weights, size * self.steps).astype(np.float64).reshape(size, self.steps)


def sums_by_labels(
    columns: Sequence[native.Column], function: MetricsAggregate, grid: Grid, *, most: int, exemplars: int
) -> list[tuple[Labels, Sums]]:
    """The sums of at most ``most`` groups, each with at most ``exemplars`` exemplars."""
    if not columns:
        return []
    slots = native.numbers(columns[0]).astype(np.int64)
    within = np.flatnonzero((slots >= 0) & (slots < grid.count))
    width = len(function.by)
    keys = [group_codes(named, column) for named, column in zip(function.by, columns[1 : 1 + width], strict=True)]
    group, first = _groups([codes[within] for codes, _ in keys], len(within))
    names = [show(named) for named in function.by]
    labels = [
        tuple((name, values[codes[row]]) for name, (codes, values) in zip(names, keys, strict=True))
        for row in within[first[:most]].tolist()
    ]
    kept = group < most
    rows, cells = within[kept], _Cells(group[kept], slots[within[kept]], grid.count)
    numbers = [native.numbers(column)[rows] for column in columns[1 + width :]]
    # Durations are nanoseconds in the table and seconds in the answer.
    unit = 1e9 if function.of == Field(Intrinsic.DURATION) else 1.0
    return list(zip(labels, _sums(cells, len(labels), numbers, unit, function, exemplars), strict=True))


def _groups(keys: Sequence[Rows], rows: int) -> tuple[Rows, Rows]:
    """The number of each row's group, from 0, and the first row of each group."""
    group = np.zeros(rows, dtype=np.int64)
    for codes in keys:
        # Renumbered after each key, so that the product with the next key's codes stays far below 64 bits.
        group = np.unique(group * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)[1].ravel()
    return group, np.unique(group, return_index=True)[1]


def _sums(
    cells: _Cells, size: int, numbers: Sequence[NDArray[np.float64]], unit: float, function: MetricsAggregate, exemplars: int
) -> list[Sums]:
    bucketed = function.op in BUCKETED
    count, total, least, most, *spans = numbers[1:] if bucketed else numbers
    at = cells.group * cells.steps + cells.slot
    lows, highs = np.full(size * cells.steps, np.inf), np.full(size * cells.steps, -np.inf)
    # ``at``, because several rows may belong to one cell; fmin and fmax skip NaN.
    np.fmin.at(lows, at, least / unit)
    np.fmax.at(highs, at, most / unit)
    counts = cells.matrix(count, cells.group, size).astype(np.int64)
    sums = cells.matrix(total / unit, cells.group, size)
    found = [Sums(*own) for own in zip(counts, sums, lows.reshape(counts.shape), highs.reshape(counts.shape), strict=True)]
    if bucketed:
        _add_buckets(found, cells, numbers[0].astype(np.int64), count, unit)
    if spans:
        _add_exemplars(found, cells, spans, unit, exemplars)
    return found


def _add_buckets(found: Sequence[Sums], cells: _Cells, powers: Rows, count: NDArray[np.float64], unit: float) -> None:
    """Add the counts by power of two; power 0 is for values that are in no bucket."""
    counted = np.where(powers > 0, count, 0)
    pairs, pair = np.unique(np.stack([cells.group, powers]), axis=1, return_inverse=True)
    counts = cells.matrix(counted, pair.ravel(), pairs.shape[1]).astype(np.int64)
    for number, (group, power) in enumerate(pairs.T.tolist()):
        if power > 0:
            found[group].buckets[2.0**power / unit] = counts[number]


def _add_exemplars(found: Sequence[Sums], cells: _Cells, spans: Sequence[NDArray[np.float64]], unit: float, limit: int) -> None:
    high, low, start, value = spans
    for row, group in enumerate(cells.group.tolist()):
        own = found[group].exemplars
        if len(own) < limit:
            # The halves of the id were read as little-endian numbers (statements.py); so written, they are its bytes again.
            own.append(Exemplar(int(start[row]), float(value[row]) / unit, np.array([high[row], low[row]], dtype="<u8").tobytes()))
