"""Range aggregations of what shards counted slot by slot, beside the samples of lines that had to be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from tael.logql.ast import RangeAggregation
from tael.logql.errors import SeriesLimit
from tael.logql.functions import finished, per_second, shifted
from tael.logql.levels import LEVEL, normalized
from tael.logql.needs import SEVERITY_TEXT, Counts
from tael.logql.records import STREAM_LABELS
from tael.logql.samples import BYTES, Bounds, Leaf
from tael.logql.stages.label_filter import condition
from tael.model.series import Floats, Labels, Samples
from tael.vectors.values import Steps, Vector
from tael.vectors.windows import windows

Counted = tuple[tuple[str, ...], int, int, int]
"""The values of the keys, the slot, how many lines, how many bytes."""
_LABELS: Final = {key: name for name, key in STREAM_LABELS.items()}


def of_counts(leaf: Leaf, plan: Counts, counted: Iterable[Counted], rest: Samples, steps: Steps, bounds: Bounds) -> Vector:
    """The leaf at ``steps``: the counts of a window's slots, and the lines of ``rest`` in it. Raises SeriesLimit and PipelineError."""
    places: dict[Labels, int] = {}
    series, slots, values = _read(leaf, plan, counted, places)
    for labels in rest.labels:
        places.setdefault(labels, len(places))
    if len(places) > bounds.series:
        raise SeriesLimit(bounds.series)
    total, lines = _windowed(leaf.aggregation, plan, steps, series, slots, values, len(places))
    _add_rest(leaf, rest, steps, places, total, lines)
    return finished(leaf.aggregation, list(places), total / per_second(leaf.aggregation), lines > 0)


def _read(
    leaf: Leaf, plan: Counts, counted: Iterable[Counted], places: dict[Labels, int]
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    conditions = [(matcher.name, condition(matcher)) for matcher in leaf.query.matchers]
    grouping = leaf.grouping()
    names = sorted(set(grouping.labels)) if grouping else []
    series, slots, values = [], [], []
    sizes = leaf.aggregation.op in BYTES
    known: dict[tuple[str, ...], int | None] = {}
    for group, slot, count, size in counted:
        if group not in known:
            labels = _labels(plan.keys, group)
            selected = all(meets(labels.get(name, "")) for name, meets in conditions)
            key = tuple((name, labels[name]) for name in names if labels.get(name))
            known[group] = places.setdefault(key, len(places)) if selected else None
        place = known[group]
        if place is not None:
            series.append(place)
            slots.append(slot)
            values.append((size if sizes else count, count))
    return series, slots, values


def _labels(keys: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    found = {_LABELS[key]: value for key, value in zip(keys, values, strict=True) if key in _LABELS and value}
    for key, value in zip(keys, values, strict=True):
        if key == SEVERITY_TEXT and value:
            found[LEVEL] = normalized(value)
    return found


def _windowed(
    aggregation: RangeAggregation,
    plan: Counts,
    steps: Steps,
    series: list[int],
    slots: list[int],
    values: list[tuple[int, int]],
    count: int,
) -> tuple[Floats, Floats]:
    """Sums over each window's slots, and how many lines are in it: differences of running sums, exact up to 2^53."""
    per_step = steps.step_ms // plan.slot_ns if steps.step_ms else 0
    wide = aggregation.range.range_ns // plan.slot_ns
    last = (steps.count - 1) * per_step + wide
    sums = np.zeros((2, count, last + 1))
    if series:
        at = (np.array(series), np.array(slots) + 1)
        for place in range(2):
            np.add.at(sums[place], at, np.array([pair[place] for pair in values], np.float64))
    np.cumsum(sums, axis=2, out=sums)
    ends = np.arange(steps.count) * per_step + wide
    found = sums[:, :, ends] - sums[:, :, ends - wide]
    return found[0], found[1]


def _add_rest(leaf: Leaf, rest: Samples, steps: Steps, places: dict[Labels, int], total: Floats, lines: Floats) -> None:
    if not rest.labels:
        return
    ends = shifted(steps, leaf.aggregation.range.offset_ns)
    own = windows(rest.offsets, rest.times_ms, rest.values, ends, steps.times_ms, leaf.aggregation.range.range_ns)
    running = np.concatenate(([0.0], np.cumsum(rest.values)))
    rows = np.array([places[labels] for labels in rest.labels])
    total[rows] += running[own.hi] - running[own.lo]
    lines[rows] += own.counts
