"""``llm_usage`` over columns: which of many spans count, and what a call inherits from its ancestors. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    def counted(self, operations: Sequence[str], operation: Longs, usage: Bools) -> Bools:
        """The calls that count, of spans of which some have ``usage``; row ``i`` has ``operations[operation[i]]``."""
        priced = np.array([name in PRICED_OPERATIONS for name in operations], np.bool_)
        repeats, quiet = np.zeros(len(usage), np.bool_), ~usage & priced[operation] if len(operations) else ~usage
        for _, outer in self._included(operations, operation, priced, usage):
            repeats[outer] = True
        counted: Bools = usage & ~repeats
        for inner, outer in self._included(operations, operation, priced, usage | quiet):
            repeats[outer] = True
            repeats[inner[counted[outer]]] = True
        return counted | (quiet & ~repeats)

    def _included(self, operations: Sequence[str], operation: Longs, priced: Bools, calls: Bools) -> Iterator[tuple[Longs, Longs]]:
        """The rows of calls, and those of ancestors whose usage, if they have any, includes theirs."""
        other_call = np.array([name in OTHER_CALL for name in operations], np.bool_)
        inner = np.flatnonzero(calls)
        outer, same = self.around[inner], priced[operation[inner]]
        # Each round goes up one level for all calls at once; the bound ends cycles of parents.
        for _ in range(MAX_DEPTH):
            going = outer >= 0
            inner, outer, same = inner[going], outer[going], same[going]
            if not len(inner):
                return
            kind = operation[outer]
            includes = ~priced[kind] | (same & (kind == operation[inner]))
            yield inner[includes], outer[includes]
            same = same & ~other_call[kind]
            outer = self.around[outer]

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
