"""The labels of series by number: read from columns, and cached without expiry because a series' labels never change."""

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
"""The number of recently used series that a cache keeps at least; it may hold twice as many. Some 50 MB at ten labels each."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """Series in order of their labels. ``positions[i]`` is the index of series ``i`` among the numbers that were looked up.

    ``repeated`` is whether a label set occurs under two numbers, one of them given by another release (docs/adr/0024).
    """

    labels: Sequence[Labels]
    positions: Longs
    repeated: bool = False


class LabelCache:
    """The labels of recently used series, in two generations: when the recent one is full it becomes the older one, which is dropped."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._recent: dict[int, Labels] = {}
        self._older: dict[int, Labels] = {}
        self._orders: dict[bytes, Ordered] = {}

    def order(self, series: Numbers) -> Ordered | None:
        """All of ``series`` by labels, if exactly this set was ordered recently: a repeated query need not sort it again. None
        otherwise.
        """
        by_number = np.argsort(series)
        key = series[by_number].tobytes()
        # Removed and inserted again, so that the dictionary is in order of use and its first entry is the least recently used.
        known = self._orders.pop(key, None)
        if known is None:
            return None
        self._orders[key] = known
        return replace(known, positions=by_number[known.positions])

    def put_in_order(self, series: Numbers, labels: Mapping[int, Labels]) -> Ordered:
        """Those of ``series`` that have ``labels``, in order of these; the order is remembered if all of them have."""
        by_number = np.argsort(series)
        wanted = series[by_number]
        known = sorted((found, position) for position, number in enumerate(wanted.tolist()) if (found := labels.get(number)) is not None)
        positions = np.array([position for _, position in known], np.int64)
        in_order = [found for found, _ in known]
        ordered = Ordered(in_order, positions, any(one == other for one, other in pairwise(in_order)))
        if len(known) == len(series) <= self._size:
            self._orders[wanted.tobytes()] = ordered
            # Bounded by the series in all orders and not by the number of orders: one of all series costs as much as thousands of small
            # ones.
            while sum(len(kept.labels) for kept in self._orders.values()) > self._size:
                del self._orders[next(iter(self._orders))]
        return replace(ordered, positions=by_number[positions])

    def find(self, series: list[int]) -> dict[int, Labels]:
        """The labels of those of ``series`` that are cached."""
        found = {number: labels for number in series if (labels := self._recent.get(number)) is not None}
        if len(found) < len(series):
            older = {number: labels for number in series if (labels := self._older.get(number)) is not None}
            # Used again, so they go into the recent generation and outlive the older one.
            self.add(older)
            found |= older
        return found

    def add(self, labels: Mapping[int, Labels]) -> None:
        """Cache these labels, or none of them when there are more than the cache has room for."""
        if len(labels) > self._size:
            return
        if len(self._recent) + len(labels) > self._size:
            self._older, self._recent = self._recent, {}
        self._recent.update(labels)


def label_sets(columns: list[Column]) -> dict[int, Labels]:
    """A column of numbers and one of maps as label sets by number. Equal (name, value) pairs are the same object, to save memory."""
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
