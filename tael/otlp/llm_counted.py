"""``llm_usage`` over columns: which of many spans count, and what a call inherits from its ancestors. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tael.model.series import Bools, Longs
from tael.otlp.llm_usage import MAX_DEPTH, OTHER_CALL
from tael.otlp.prices import PRICED_OPERATIONS

Ids = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Tree:
    """Spans with the row of each one's parent, -1 if it is not among them."""

    around: Longs

    @classmethod
    def of(cls, ids: Ids, parents: Ids) -> Tree:
        """The tree of spans with these ids (each once, and distinct across traces) and parent ids."""
        order = np.argsort(ids)
        place = np.searchsorted(ids, parents, sorter=order)
        # For an id that is missing, searchsorted gives the place of its neighbour, which the comparison below rules out.
        found = order[np.minimum(place, len(ids) - 1)] if len(ids) else place
        return cls(np.where(ids[found] == parents, found, -1) if len(ids) else found)

    def counted(self, operations: Sequence[str], operation: Longs, reports: Bools) -> Bools:
        """The spans that report usage (``reports``), except those that repeat a descendant's; row ``i`` has
        ``operations[operation[i]]``.
        """
        priced = np.array([name in PRICED_OPERATIONS for name in operations], np.bool_)
        other_call = np.array([name in OTHER_CALL for name in operations], np.bool_)
        repeats = np.zeros(len(reports), np.bool_)
        calls = np.flatnonzero(reports)
        outer, same = self.around[calls], priced[operation[calls]]
        # Each round goes up one level for all calls at once; the bound ends cycles of parents.
        for _ in range(MAX_DEPTH):
            going = outer >= 0
            calls, outer, same = calls[going], outer[going], same[going]
            if not len(calls):
                break
            kind = operation[outer]
            repeats[outer[reports[outer] & (~priced[kind] | (same & (kind == operation[calls])))]] = True
            same = same & ~other_call[kind]
            outer = self.around[outer]
        counted: Bools = reports & ~repeats
        return counted

    def inherited(self, codes: Longs, empty: int, rows: Longs) -> Longs:
        """The codes, in which each of ``rows`` that is ``empty`` has the code of its nearest ancestor that has one."""
        found = codes.copy()
        waiting, outer = rows[codes[rows] == empty], self.around[rows[codes[rows] == empty]]
        for _ in range(MAX_DEPTH):
            going = outer >= 0
            waiting, outer = waiting[going], outer[going]
            if not len(waiting):
                break
            has = codes[outer] != empty
            found[waiting[has]] = codes[outer[has]]
            waiting, outer = waiting[~has], self.around[outer[~has]]
        return found
