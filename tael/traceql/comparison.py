"""``compare()``: how often each value of each attribute is on the selected spans and on the others, by step. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tael.traceql.ast import Attribute, Compare, Field, Intrinsic, Pipeline, Scope, Static, Type
from tael.traceql.columns import Mask
from tael.traceql.metrics import Grid, Labels, Series
from tael.traceql.spans import Block
from tael.traceql.spansets import matched
from tael.traceql.text import show

Counts: TypeAlias = "dict[tuple[bool, str, Static | None], NDArray[np.int64]]"
"""By whether the spans are selected, the attribute's name with its scope, and its value: how many spans have it, at each step.

None stands for all values that are too rare to be listed separately."""
_META = "__meta_type"


def add(into: Counts, counts: Counts) -> None:
    """Add the counts of another shard or block."""
    for key, found in counts.items():
        into[key] = into[key] + found if key in into else found


def series(counts: Counts, top: int) -> list[Series]:
    """Of each attribute its ``top`` most frequent values, for the selection and the baseline, and how many spans have the
    attribute at all.
    """
    found: list[Series] = []
    for selected in (False, True):
        word = "selection" if selected else "baseline"
        for name, values in _by_name(counts, selected).items():
            listed = [(value, own) for value, own in values.items() if value is not None]
            ranked = sorted(listed, key=lambda pair: (-int(pair[1].sum()), str(pair[0].value)))
            found += [Series(_labels(word, name, value), own.astype(float)) for value, own in ranked[:top]]
            found.append(Series(_labels(f"{word}_total", name, None), np.sum(list(values.values()), axis=0).astype(float)))
    return sorted(found, key=lambda one: [(name, "" if value is None else str(value.value)) for name, value in one.labels])


def _by_name(counts: Counts, selected: bool) -> Mapping[str, Mapping[Static | None, NDArray[np.int64]]]:
    found: dict[str, dict[Static | None, NDArray[np.int64]]] = {}
    for (own, name, value), numbers in counts.items():
        if own is selected:
            found.setdefault(name, {})[value] = numbers
    return found


def _labels(word: str, name: str, value: Static | None) -> Labels:
    scope, dot, key = name.partition(".")
    return ((_META, Static(Type.STRING, word)), (show(Attribute(Scope(scope), key)) if dot else name, value))


def selected(compare: Compare, spans: Block, base: Mask) -> Mask:
    """Which spans of ``base`` are compared with the others."""
    found = base & matched(Pipeline((compare.selection,)), spans)
    if compare.start_ns and compare.end_ns:
        found &= (spans.start_ns > compare.start_ns) & (spans.start_ns <= compare.end_ns)
    return found


def of_relatives(compare: Compare, spans: Block, base: Mask, grid: Grid) -> Counts:
    """What the traces of a block say of the spans of ``base``: their root, and the number of their children."""
    slots, chosen = grid.slots(spans.start_ns), selected(compare, spans, base)
    found: Counts = {}
    for intrinsic in (Intrinsic.ROOT_NAME, Intrinsic.ROOT_SERVICE, Intrinsic.CHILD_COUNT):
        ((kind, column),) = spans.column(Field(intrinsic)).typed.items()
        values, codes = np.unique(column.values, return_inverse=True)
        for own in (False, True):
            rows = np.flatnonzero(base & (chosen == own) & (slots >= 0) & (slots < grid.count))
            counts = np.bincount(codes[rows] * grid.count + slots[rows], minlength=len(values) * grid.count).reshape(-1, grid.count)
            named = zip(values.tolist(), counts.astype(np.int64), strict=True)
            found |= {(own, intrinsic.value, Static(kind, value)): each for value, each in named if each.any()}
    return found


def counts_of(rows: Iterable[tuple[bool, str, Static | None, int, int]], size: int) -> Counts:
    """Rows of selected, name, value, step and count as arrays over the steps."""
    found: Counts = {}
    for selected, name, value, slot, count in rows:
        if 0 <= slot < size:
            found.setdefault((selected, name, value), np.zeros(size, dtype=np.int64))[slot] += count
    return found
