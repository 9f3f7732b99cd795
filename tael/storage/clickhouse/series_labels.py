"""The labels of series by their number: read from columns, and remembered, for a series' labels never change."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from tael.model.series import Labels
from tael.storage.clickhouse.native import Column, Pairs, lists, numbers, pairs, strings

REMEMBERED: Final = 50_000
"""Series whose labels a cache holds at least, in twice the room: some 50 MB at ten labels each."""


class LabelCache:
    """What was asked for lately. When it is full, what was not asked for since it was last full is forgotten."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._recent: dict[int, Labels] = {}
        self._older: dict[int, Labels] = {}

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
