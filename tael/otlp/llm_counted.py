"""Which of many spans count, and what a call has from the spans around it: ``llm_usage`` over columns. Pure."""

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
    """Spans with the row of the span around each, -1 where there is none."""

    around: Longs

    @classmethod
    def of(cls, ids: Ids, parents: Ids) -> Tree:
        """From the ids of spans, each once, and those of their parents, which are distinct across traces."""
        order = np.argsort(ids)
        place = np.searchsorted(ids, parents, sorter=order)
        # An id that is not there is placed beside its neighbour, the largest one at the end; the comparison below decides.
        found = order[np.minimum(place, len(ids) - 1)] if len(ids) else place
        return cls(np.where(ids[found] == parents, found, -1) if len(ids) else found)

    def counted(self, operations: Sequence[str], operation: Longs, reports: Bools) -> Bools:
        """Those of the spans that report usage (``reports``) whose usage no span below repeats; row ``i`` is of ``operations[operation[i]]``."""
        priced = np.array([name in PRICED_OPERATIONS for name in operations], np.bool_)
        other_call = np.array([name in OTHER_CALL for name in operations], np.bool_)
        repeats = np.zeros(len(reports), np.bool_)
        calls = np.flatnonzero(reports)
        outer, same = self.around[calls], priced[operation[calls]]
        # A level a round for all calls at once; parents that form a cycle end at the bound.
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
        """The code of each of ``rows`` or, where it is ``empty``, that of the nearest span around it that has one."""
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
