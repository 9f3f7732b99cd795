"""Groups of series by labels, and counts and sums over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tael.model.series import METRIC_NAME, Bools, Floats, Labels, Longs
from tael.vectors import sums

TOGETHER = 1 << 20
"""How many samples of groups are processed at once, a bound on memory."""
ADDED = 1 << 16
"""How many samples are added up at once, so that they stay in a processor's cache."""


@dataclass(frozen=True)
class Groups:
    """``labels[g]`` are the labels of group ``g``; series ``i`` is in group ``of[i]``. Groups are in the order of their first series."""

    labels: Sequence[Labels]
    of: Longs

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def order(self) -> Longs:
        """The series ordered by group, and within a group as they came."""
        return np.argsort(self.of, kind="stable")

    @cached_property
    def starts(self) -> Longs:
        """Where each group begins in ``order``."""
        return np.searchsorted(self.of[self.order], np.arange(len(self)))

    def consecutive(self, steps: int) -> Iterator[tuple[slice, Longs]]:
        """Runs of consecutive groups with at most ``ADDED`` samples at ``steps`` steps, but at least one group each.

        Yields the slice of groups, and their series ordered by group.
        """
        ends = np.append(self.starts, len(self.of))
        begin = 0
        while begin < len(self):
            rows = max(1, ADDED // max(1, steps))
            end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + rows, side="right")) - 1)
            yield slice(begin, end), self.order[ends[begin] : ends[end]]
            begin = end

    def alike(self, steps: int) -> Iterator[tuple[Longs, Longs]]:
        """Groups of equal size together, split so that a batch has about ``TOGETHER`` samples at ``steps`` steps.

        Yields the numbers of the groups, and a matrix with a row of series for each.
        """
        sizes = np.diff(np.append(self.starts, len(self.of)))
        for size in np.unique(sizes).tolist():
            which = np.flatnonzero(sizes == size)
            for batch in np.array_split(which, max(1, len(which) * size * steps // TOGETHER)):
                yield batch, self.order[self.starts[batch][:, None] + np.arange(size)]


def group(series: Sequence[Labels], names: Sequence[str], *, without: bool) -> Groups:
    """Group by the labels ``names``, or with ``without`` by all labels but these and the metric's name."""
    chosen = {*names, METRIC_NAME} if without else set(names)
    places: dict[Labels, int] = {}
    if without:
        # Label sets are sorted by name, so what is left of two equal sets is equal as a tuple too.
        keys = (tuple([pair for pair in labels if pair[0] not in chosen]) for labels in series)
    else:
        keys = (tuple([pair for pair in labels if pair[0] in chosen]) for labels in series)
    of = np.fromiter((places.setdefault(key, len(places)) for key in keys), np.int64, len(series))
    return Groups(list(places), of)


def count(present: Bools, groups: Groups) -> Longs:
    """How many series of each group have a sample, group by step."""
    return np.add.reduceat(present[groups.order], groups.starts, axis=0, dtype=np.int64)


def add_up(values: Floats, present: Bools, groups: Groups) -> tuple[Floats, Floats]:
    """The sum of each group at each step as a pair, see ``sums``.

    Pairs are added to pairs, neighbours first, in as many rounds as the largest group has binary digits.
    """
    steps = values.shape[1]
    total, lost = np.empty((len(groups), steps)), np.empty((len(groups), steps))
    for batch, rows in groups.consecutive(steps):
        width = max(1, ADDED // len(rows))
        for column in range(0, steps, width):
            part = slice(column, column + width)
            # -0.0 is the neutral element of addition: 0.0 would turn a sum of -0.0 into 0.0.
            alone = np.where(present[:, part][rows], values[:, part][rows], -0.0)
            total[batch, part], lost[batch, part] = _add_up(alone, groups.of[rows] - batch.start)
    return total, lost


def _add_up(total: Floats, of: Longs) -> tuple[Floats, Floats]:
    """Pairwise sums of rows that are ordered by group; ``of`` is each row's group."""
    lost, groups = np.zeros_like(total), int(of[-1]) + 1
    while len(total) > groups:
        starts = np.searchsorted(of, np.arange(groups))
        even = np.flatnonzero((np.arange(len(of)) - starts[of]) % 2 == 0)
        # Row i meets row i + 1 of its own group; the odd one out goes to the next round alone.
        partner = np.minimum(even + 1, len(of) - 1)
        paired = (partner > even) & (of[partner] == of[even])
        left, right = even[paired], partner[paired]
        # Fancy indexing copies, so adding in place does not touch what other rounds read.
        added, missed = total[left], lost[left] + lost[right]
        sums.add(added, missed, total[right])
        single = even[~paired]
        if len(single) == 0:
            total, lost = added, missed
        else:
            total, lost = _merged(paired, added, total[single]), _merged(paired, missed, lost[single])
        of = of[even]
    return total, lost


def _merged(first: Bools, chosen: Floats, others: Floats) -> Floats:
    result = np.empty((len(first), chosen.shape[1]))
    result[first] = chosen
    result[~first] = others
    return result
