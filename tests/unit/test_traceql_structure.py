"""Trees of spans whose ids are awkward to look up, and of very deep traces."""

from __future__ import annotations

import numpy as np

from tael.traceql.ids import Ids
from tael.traceql.structure import _ODD, ORPHAN, ROOT, structure_of


def test_ids_of_a_trace_with_the_same_hash() -> None:
    """Each span finds its own parent, and one whose parent only looks like another span has none."""
    back = pow(int(_ODD), -1, 1 << 64)
    ids = [(1 << 63 | low) * back % (1 << 64) for low in range(4)]  # their hashes differ in the last bits alone
    spans = np.array([*ids[:3], *ids[:2]], dtype=np.uint64)
    parents = np.array([0, *ids[:2], 0, ids[3]], dtype=np.uint64)
    trace = np.array([0, 0, 0, 1 << 20, 1 << 20])
    assert structure_of(trace, Ids(spans), Ids(parents)).parent.tolist() == [ROOT, 0, 1, ROOT, ORPHAN]


def test_a_very_deep_trace() -> None:
    """A level for each span, in their order."""
    size = (1 << 16) + 2
    numbers = np.arange(1, size + 1, dtype=np.uint64)
    tree = structure_of(np.zeros(size, dtype=np.int64), Ids(numbers), Ids(numbers - np.uint64(1)))
    assert np.concatenate(tree.levels).tolist() == list(range(size))
    assert len(tree.levels) == size
