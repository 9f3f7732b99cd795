"""The labels of series by their number: read from columns, and remembered, for a series' labels never change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from tael.model.series import Labels, Longs
from tael.storage.clickhouse.native import Column, Pairs, lists, numbers, pairs, strings
from tael.storage.clickhouse.series.runs import Numbers

REMEMBERED: Final = 50_000
"""Series whose labels a cache holds at least, in twice the room: some 50 MB at ten labels each."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """Series by labels: the labels, and where each of these series stands among those that were asked about.

    ``repeated`` says that some stand there under two numbers: one of another release (docs/adr/0024).
    """

    labels: Sequence[Labels]
    positions: Longs
    repeated: bool = False


class LabelCache:
    """What was asked for lately. When it is full, what was not asked for since it was last full is forgotten."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._recent: dict[int, Labels] = {}
        self._older: dict[int, Labels] = {}
        self._orders: dict[bytes, Ordered] = {}

    def order(self, series: Numbers) -> Ordered | None:
        """All of ``series`` by labels, where exactly these were put in order lately: a query that is repeated need not do it again."""
        by_number = np.argsort(series)
        key = series[by_number].tobytes()
        # Taken out and put back, so that the dictionary is in the order of use and the first one is the first to be forgotten.
        known = self._orders.pop(key, None)
        if known is None:
            return None
        self._orders[key] = known
        return replace(known, positions=by_number[known.positions])

    def put_in_order(self, series: Numbers, labels: Mapping[int, Labels]) -> Ordered:
        """Those of ``series`` whose ``labels`` are known, by labels; remembered when all are."""
        by_number = np.argsort(series)
        wanted = series[by_number]
        known = sorted((found, position) for position, number in enumerate(wanted.tolist()) if (found := labels.get(number)) is not None)
        positions = np.array([position for _, position in known], np.int64)
        in_order = [found for found, _ in known]
        ordered = Ordered(in_order, positions, any(one == other for one, other in pairwise(in_order)))
        if len(known) == len(series) <= self._size:
            self._orders[wanted.tobytes()] = ordered
            # Bounded by series and not by orders: one of all series costs as much as thousands of small ones.
            while sum(len(of.labels) for of in self._orders.values()) > self._size:
                del self._orders[next(iter(self._orders))]
        return replace(ordered, positions=by_number[positions])

    def find(self, series: list[int]) -> dict[int, Labels]:
        """The labels of those of ``series`` that are known."""
        found = {number: labels for number in series if (labels := self._recent.get(number)) is not None}
        if len(found) < len(series):
            older = {number: labels for number in series if (labels := self._older.get(number)) is not None}
            self.add(older)
            found |= older
        return found

    def add(self, labels: Mapping[int, Labels]) -> None:
        """Remember these; of more than there is room for, none."""
        if len(labels) > self._size:
            return
        if len(self._recent) + len(labels) > self._size:
            self._older, self._recent = self._recent, {}
        self._recent.update(labels)


def label_sets(columns: list[Column]) -> dict[int, Labels]:
    """Number and map columns as label sets by number; equal pairs of name and value are one object."""
    if not columns:
        return {}
    series, maps = numbers(columns[0]), lists(columns[1])
    entries = _entries(pairs(maps.values))
    sets = (tuple(sorted(entries[begin:end])) for begin, end in pairwise(maps.offsets.tolist()))
    return dict(zip(series.tolist(), sets, strict=True))


def _entries(columns: Pairs) -> list[tuple[str, str]]:
    one: dict[tuple[str, str], tuple[str, str]] = {}
    names, values = strings(columns.keys).tolist(), strings(columns.values).tolist()
    return [one.setdefault(pair, pair) for pair in zip(names, values, strict=True)]
