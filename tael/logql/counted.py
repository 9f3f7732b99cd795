"""Range aggregations over counts that shards made slot by slot, plus samples of the lines that had to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from tael.logql.ast import RangeAggregation
from tael.logql.errors import SeriesLimit
from tael.logql.flat import text_of
from tael.logql.functions import finished, per_second, shifted
from tael.logql.levels import LEVEL, normalized
from tael.logql.pipeline import compiled_stages
from tael.logql.plans import Plan
from tael.logql.row import Row
from tael.logql.samples import BYTES, Bounds, Leaf, Room
from tael.logql.stages import Run
from tael.model.series import Floats, Labels, Samples
from tael.vectors.ranges import over_time
from tael.vectors.values import Steps, Vector
from tael.vectors.windows import windows

_EXACT: Final = float(1 << 53)


class Group(Protocol):
    """Lines of one stream that have in common what a plan asks for."""

    @property
    def labels(self) -> Labels:
        """The stream's."""
        ...

    @property
    def known(self) -> bool:
        """Whether the shard knew everything needed to count these lines; otherwise they must be read."""
        ...

    @property
    def level(self) -> str:
        """The level that they are shown with, where requested."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """The members that they have in common, as they are written, where requested."""
        ...


class Counted(Group, Protocol):
    """Lines of a group in one slot."""

    @property
    def slot(self) -> int:
        """Which slot."""
        ...

    @property
    def records(self) -> int:
        """How many; with numbers that are added up, those that have one."""
        ...

    @property
    def bytes(self) -> int:
        """Of how many bytes, where requested, or the sum of their numbers."""
        ...


class LinesNeeded(Exception):
    """Lines that were counted together have to be read: they failed, which shows all labels of each, or their sum is not exact."""


def of_counts(leaf: Leaf, plan: Plan, counted: Iterable[Counted], rest: Samples, steps: Steps, bounds: Bounds, room: Room) -> Vector:
    """The leaf at ``steps``: the counts of a window's slots, and the lines of ``rest`` in it. Raises SeriesLimit, TooLarge and
    PipelineError, and LinesNeeded.
    """
    places: dict[Labels, int] = {}
    series, slots, values = _read(leaf, plan, counted, places)
    for labels in rest.labels:
        places.setdefault(labels, len(places))
    if len(places) > bounds.series:
        raise SeriesLimit(bounds.series)
    room.take(len(places) * steps.count)
    total, lines = _windowed(leaf.aggregation, plan, steps, series, slots, values, len(places))
    _add_rest(leaf, rest, steps, places, total, lines)
    divisor = np.maximum(lines, 1) if leaf.aggregation.op == "avg_over_time" else per_second(leaf.aggregation)
    return finished(leaf.aggregation, list(places), total / divisor, lines > 0)


def _read(
    leaf: Leaf, plan: Plan, counted: Iterable[Counted], places: dict[Labels, int]
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    series, slots, values = [], [], []
    sizes = leaf.aggregation.op in BYTES or plan.unwrapped
    groups: dict[tuple[Labels, str, Sequence[str]], int | None] = {}
    names, runs = names_of(leaf), compiled_stages(plan.stages)
    for part in counted:
        # Lines that are not known are read instead, and come in ``rest``.
        if not (part.known and part.records):
            continue
        group = (part.labels, part.level, part.texts)
        if group not in groups:
            labels = labels_of(plan, part)
            groups[group] = places.setdefault(key_of(names, labels), len(places)) if keeps(runs, labels) else None
        place = groups[group]
        if place is None:
            continue
        series.append(place)
        slots.append(part.slot)
        values.append((part.bytes if sizes else part.records, part.records))
    return series, slots, values


def names_of(leaf: Leaf) -> list[str]:
    """The labels that distinguish the leaf's series, in their order."""
    grouping = leaf.grouping()
    return sorted(set(grouping.labels)) if grouping else []


def labels_of(plan: Plan, group: Group) -> dict[str, str]:
    """The labels that the lines of a group have in common."""
    labels = dict(group.labels) | ({LEVEL: normalized(group.level)} if group.level else {})
    return labels | {name: text_of(text) for name, text in zip(plan.members, group.texts, strict=True) if text}


def key_of(names: Iterable[str], labels: Mapping[str, str]) -> Labels:
    """The labels of the series of lines with these labels."""
    return tuple((name, labels[name]) for name in names if labels.get(name))


def keeps(runs: Sequence[Run], labels: Mapping[str, str]) -> bool:
    """Whether the stages keep lines with these labels. Raises LinesNeeded."""
    if not runs:
        return True
    row = Row(0, "", {}, labels)
    kept = all(run(row) for run in runs)
    if kept and row.error:
        raise LinesNeeded
    return kept


def _windowed(
    aggregation: RangeAggregation,
    plan: Plan,
    steps: Steps,
    series: list[int],
    slots: list[int],
    values: list[tuple[int, int]],
    count: int,
) -> tuple[Floats, Floats]:
    """Each window's sum over its slots, and its number of lines: differences of running sums, exact up to 2^53. Raises LinesNeeded
    beyond.
    """
    per_step = steps.step_ms // plan.slot_ns if steps.step_ms else 0
    wide = aggregation.range.range_ns // plan.slot_ns
    last = (steps.count - 1) * per_step + wide
    sums = np.zeros((2, count, last + 1))
    if series:
        # Shifted by one: position p then holds the sum of the slots before p, so a window is the difference of two positions.
        at = (np.array(series), np.array(slots) + 1)
        for place in range(2):
            np.add.at(sums[place], at, np.array([pair[place] for pair in values], np.float64))
    np.cumsum(sums, axis=2, out=sums)
    if plan.unwrapped and np.abs(sums[0]).max(initial=0) > _EXACT:
        raise LinesNeeded
    ends = np.arange(steps.count) * per_step + wide
    found = sums[:, :, ends] - sums[:, :, ends - wide]
    return found[0], found[1]


def _add_rest(leaf: Leaf, rest: Samples, steps: Steps, places: dict[Labels, int], total: Floats, lines: Floats) -> None:
    if not rest.labels:
        return
    ends = shifted(steps, leaf.aggregation.range.offset_ns)
    own = windows(rest.offsets, rest.times_ms, rest.values, ends, steps.times_ms, leaf.aggregation.range.range_ns)
    # Series have distinct labels, so no row is repeated: "+=" with a repeated index would add only once.
    rows = np.array([places[labels] for labels in rest.labels])
    if leaf.aggregation.range.unwrap is None:
        running = np.concatenate(([0.0], np.cumsum(rest.values)))
        total[rows] += running[own.hi] - running[own.lo]
    else:
        with np.errstate(all="ignore"):
            total[rows] += over_time.total(own)[0]
    lines[rows] += own.counts
