"""Samples of an unwrapped label, from the values that shards read out of lines, group by group. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from tael.logql.ast import Filtered
from tael.logql.counted import Group, LinesNeeded, keeps, key_of, labels_of, names_of
from tael.logql.flat import text_of
from tael.logql.pipeline import compiled_stages
from tael.logql.plans import Plan
from tael.logql.samples import CONVERSIONS, Bounds, Leaf
from tael.logql.stages.label_filter import names_read
from tael.model.series import Bools, Floats, Labels, Longs, Samples, Serials


class Valued(Group, Protocol):
    """The lines of a group that have the label."""

    @property
    def times_ns(self) -> Longs:
        """When they were."""
        ...

    @property
    def serials(self) -> Serials:
        """What orders lines of the same time."""
        ...

    @property
    def words(self) -> Sequence[str]:
        """Values as they are written; several groups may share these."""
        ...

    @property
    def places(self) -> Longs:
        """Which of the words each line has."""
        ...


def samples_of(leaf: Leaf, plan: Plan, groups: Iterable[Valued], rest: Samples, bounds: Bounds) -> Samples:
    """The leaf's samples in lines that are known, and ``rest``, which are those in others. Raises SeriesLimit and TooLarge, and LinesNeeded
    for lines that fail.
    """
    read = _Values(leaf, plan)
    places: dict[Labels, int] = {labels: place for place, labels in enumerate(rest.labels)}
    of, times, values = [np.repeat(np.arange(len(rest.labels)), np.diff(rest.offsets))], [rest.times_ms], [rest.values]
    # Lines of one nanosecond are ordered by their serials, as they are where they are read.
    serials = [np.zeros(len(rest.values), np.uint64)]
    count = len(rest.values)
    for group in groups:
        if not (group.known and len(group.places)):
            continue
        labels, numbers, kept = read.group(group)
        if not kept.any():
            continue
        place = places.setdefault(labels, len(places))
        times.append(group.times_ns[kept])
        values.append(numbers[kept])
        serials.append(group.serials[kept])
        of.append(np.full(len(times[-1]), place))
        count += len(times[-1])
        bounds.hold(len(places), count)
    rows, instants = np.concatenate(of), np.concatenate(times)
    order = np.lexsort((np.concatenate(serials), instants, rows))
    offsets = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(places)))))
    return Samples(list(places), offsets.astype(np.int64), instants[order], np.concatenate(values)[order])


class _Values:
    """Reads the values of groups; each word once, and each once more in a group whose filters read it."""

    def __init__(self, leaf: Leaf, plan: Plan) -> None:
        unwrap = leaf.aggregation.range.unwrap
        assert unwrap is not None
        self._plan, self._names = plan, names_of(leaf)
        self._runs = compiled_stages(plan.stages, unwrap.filters if plan.stages else ())
        self._convert = CONVERSIONS[unwrap.conversion]
        self._by_value = any(isinstance(stage, Filtered) and plan.unwrapped in names_read(stage.filter) for stage in plan.stages)
        self._drops_failed = bool(unwrap.filters)
        self._known: dict[str, float | None] = {}

    def group(self, group: Valued) -> tuple[Labels, Floats, Bools]:
        """The labels of the group's series, the number of each line, and which lines are kept. Raises LinesNeeded."""
        labels = labels_of(self._plan, group)
        used, at = np.unique(group.places, return_inverse=True)
        words = [group.words[place] for place in used.tolist()]
        if self._by_value:
            kept = [keeps(self._runs, labels | {self._plan.unwrapped: text_of(word)}) for word in words]
        else:
            kept = [keeps(self._runs, labels)] * len(words)
        numbers = [self._number(word) if is_kept else None for word, is_kept in zip(words, kept, strict=True)]
        failed = any(is_kept and number is None for number, is_kept in zip(numbers, kept, strict=True))
        if failed and not self._drops_failed:
            raise LinesNeeded
        there = np.array([number is not None for number in numbers], np.bool_)
        read = np.array([0.0 if number is None else number for number in numbers])
        return key_of(self._names, labels), read[at], there[at]

    def _number(self, word: str) -> float | None:
        """The number that a value as it is written stands for; None where it is none."""
        if word not in self._known:
            try:
                self._known[word] = self._convert(text_of(word))
            except ValueError:
                self._known[word] = None
        return self._known[word]
