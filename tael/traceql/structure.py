"""The trees of many traces: parents, siblings, ancestors and Tempo's nested-set numbers, computed with numpy over ids.

A nested set numbers a trace's tree depth first from 1: a span gets its left number when it is reached and its right number after its
children, so a descendant's numbers lie between its ancestor's. Roots have parent number -1. A span whose parent is not in the trace is an
orphan: it and everything below it are outside the tree and have zeros (Tempo's rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tael.traceql.columns import Mask, Rows
from tael.traceql.ids import numbers_of

Ids = NDArray[np.uint64]
ROOT, ORPHAN = -1, -2
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
"""The golden ratio of 2^64: the upper bits of an id's product with it depend on all of its bits, counters and random ids alike."""


@dataclass(frozen=True)
class Structure:
    """The tree of each trace over the rows of a block.

    ``parent[i]`` is the row of span i's parent, ROOT or ORPHAN. ``trace[i]`` numbers its trace, from 0.
    """

    parent: Rows
    trace: Rows

    @cached_property
    def levels(self) -> list[Rows]:
        """The rows by depth, roots and orphans first. A cycle of parents is on no level: nothing in it is reached."""
        above, depth = self.parent.copy(), (self.parent >= 0).astype(np.int64)
        # Each round looks twice as far up as the one before, so that their number is the logarithm of the deepest trace's depth.
        for _ in range(len(above).bit_length()):
            rows = np.flatnonzero(above >= 0)
            if not len(rows):
                break
            at = above[rows]
            depth[rows] += depth[at]
            above[rows] = above[at]
        # What still has something above it never ends.
        rows = np.flatnonzero(above < 0)
        counts = np.bincount(depth[rows])
        # Few numbers are sorted by counting, many times as fast.
        order = np.argsort(depth[rows].astype(np.uint16) if len(counts) <= 1 << 16 else depth[rows], kind="stable")
        return np.split(rows[order], np.cumsum(counts)[:-1])

    @cached_property
    def in_tree(self) -> Mask:
        """The spans below a root, roots included."""
        found: Mask = self.parent == ROOT
        for level in self.levels[1:]:
            # Top down, so each parent is already decided.
            found[level] = found[self.parent[level]]
        return found

    @cached_property
    def child_count(self) -> NDArray[np.int64]:
        """Children of each span."""
        return np.bincount(self.parent[self.parent >= 0], minlength=len(self.parent)).astype(np.int64)

    @cached_property
    def numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The nested set's left, right and parent numbers; children are visited in the order of the rows."""
        size = len(self.parent)
        below = np.ones(size, dtype=np.int64)
        for level in reversed(self.levels[1:]):
            np.add.at(below, self.parent[level], below[level])
        left = np.zeros(size, dtype=np.int64)
        for level in self.levels:
            own = level[self.in_tree[level]]
            # The rows of a level are grouped by parent; roots, which all have the parent ROOT, by their trace.
            group = np.where(self.parent[own] >= 0, self.parent[own], -1 - self.trace[own])
            order = np.lexsort((own, group))
            own, group = own[order], group[order]
            before = np.cumsum(below[own]) - below[own]
            first = np.searchsorted(group, group, side="left")
            base = np.where(group >= 0, left[np.maximum(group, 0)], 0)
            # Each earlier sibling's subtree of n spans takes 2n numbers, one at entry and one at exit.
            left[own] = base + 1 + 2 * (before - before[first])
        right = np.where(self.in_tree, left + 2 * below - 1, 0)
        above = np.where(self.parent >= 0, left[np.maximum(self.parent, 0)], 0)
        return left, right, np.where(self.parent == ROOT, -1, above)

    def children_of(self, spans: Mask) -> Mask:
        """The spans whose parent is one of these."""
        return (self.parent >= 0) & spans[np.maximum(self.parent, 0)]

    def parents_of(self, spans: Mask) -> Mask:
        """The spans that are the parent of one of these."""
        found = np.zeros(len(spans), dtype=bool)
        found[self.parent[spans & (self.parent >= 0)]] = True
        return found

    def descendants_of(self, spans: Mask) -> Mask:
        """The spans below one of these."""
        found = np.zeros(len(spans), dtype=bool)
        for level in self.levels[1:]:
            above = self.parent[level]
            found[level] = found[above] | spans[above]
        return found

    def ancestors_of(self, spans: Mask) -> Mask:
        """The spans above one of these."""
        found = np.zeros(len(spans), dtype=bool)
        for level in reversed(self.levels[1:]):
            reached = level[found[level] | spans[level]]
            found[self.parent[reached]] = True
        return found

    def siblings_of(self, spans: Mask) -> Mask:
        """The spans that share a parent with another one of these; roots of a trace are siblings, orphans have none."""
        family = np.where(self.parent >= 0, self.parent, len(self.parent) + self.trace)
        counted = np.bincount(family[spans & (self.parent != ORPHAN)], minlength=len(self.parent) + int(self.trace.max(initial=0)) + 1)
        # Minus itself: a span is not its own sibling.
        found: Mask = (self.parent != ORPHAN) & (counted[family] - spans > 0)
        return found


def structure_of(trace: Rows, span_ids: Sequence[bytes], parent_ids: Sequence[bytes]) -> Structure:
    """The trees of spans with ascending trace numbers; an empty parent id makes a root. Of two spans with the same id, the first is the
    parent.
    """
    spans, parents = numbers_of(span_ids), numbers_of(parent_ids)
    found = _rows_of(trace, spans, parents) if len(trace) else np.zeros(0, dtype=np.int64)
    # A span that names itself as its parent has none.
    found[found == np.arange(len(trace))] = ORPHAN
    return Structure(np.where(parents == 0, ROOT, found), trace)


def _rows_of(trace: Rows, spans: Ids, wanted: Ids) -> Rows:
    """For each row, the first row of its trace with the ``wanted`` span id, or ORPHAN."""
    # Trace and a hash of the span id in one number: it is sorted several times as fast as the two, and rows are looked up near each other.
    bits = np.uint64(64 - max(1, int(trace[-1]).bit_length()))
    first = trace.astype(np.uint64) << bits
    keys, looked_up = (first | ((ids * _ODD) >> (np.uint64(64) - bits)) for ids in (spans, wanted))
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    at = np.minimum(np.searchsorted(ordered, looked_up), len(order) - 1)
    found: Rows = np.where(ordered[at] == looked_up, order[at], ORPHAN)
    # Two ids of a trace have one hash once in a billion spans.
    for row in np.flatnonzero((found >= 0) & (spans[np.maximum(found, 0)] != wanted)).tolist():
        begin, end = np.searchsorted(trace, (trace[row], trace[row] + 1))
        same = np.flatnonzero(spans[begin:end] == wanted[row])
        found[row] = begin + same[0] if len(same) else ORPHAN
    return found
