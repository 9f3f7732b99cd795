"""Functions over ranges that hold native histograms; rate, increase and the like are in ``rates``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tael.model.histogram import Histograms, concatenate, empty
from tael.model.series import Bools, Floats, Longs
from tael.vectors.histograms.binary import Cells
from tael.vectors.histograms.notes import Note, joined
from tael.vectors.histograms.resets import equal
from tael.vectors.histograms.sums import Sums, average_by, sum_by
from tael.vectors.histograms.windows import Evaluated, Windows, beside_floats, between, either, falls, members, of_rows, pairs, spread

MAX_MEMBERS = 1 << 18
"""How many samples, counted once for each window that holds them, are evaluated together, unless one window alone has more."""


@dataclass(frozen=True, slots=True)
class OfHistograms:
    """A function over windows that hold histograms; ``few`` says that it reads at most one sample of a window, so windows need not be
    split.
    """

    apply: Callable[[Windows], Evaluated]
    few: bool = False


def evaluate(function: OfHistograms, windows: Windows, check: Callable[[], None] = lambda: None) -> Evaluated:
    """``function`` over windows that each hold a histogram, alone or beside floats.

    ``check`` is called regularly and raises when the query was cancelled or timed out.
    """
    if function.few:
        return function.apply(windows)
    held = np.cumsum(windows.counts)
    parts: list[Evaluated] = []
    begin = 0
    # Once even without windows: the answer to none has the form of any other.
    while begin < len(held) or not parts:
        check()
        done = held[begin - 1] if begin else 0
        # At least one window, which alone may have more members than a part should.
        end = max(begin + 1, int(np.searchsorted(held, done + MAX_MEMBERS, side="right")))
        parts.append(function.apply(windows.part(begin, end)))
        begin = end
    return parts[0] if len(parts) == 1 else _concatenated(parts)


def _concatenated(parts: list[Evaluated]) -> Evaluated:
    sizes = np.array([len(part.samples.histograms) for part in parts])
    # Cells number the histograms of their own part, which come after those of the parts before it.
    shift = np.repeat(np.cumsum(sizes) - sizes, [len(part.present) for part in parts])
    cells = np.concatenate([part.samples.cells for part in parts])
    begins = np.cumsum([0, *(len(part.present) for part in parts)])
    rows = [np.arange(*begins[i : i + 2]) for i in range(len(parts))]
    return Evaluated(
        np.concatenate([part.present for part in parts]),
        Cells(
            np.concatenate([part.samples.values for part in parts]),
            np.where(cells >= 0, cells + shift, cells),
            concatenate([part.samples.histograms for part in parts]),
        ),
        joined(*(spread(part.notes, own, int(begins[-1])) for part, own in zip(parts, rows, strict=True))),
    )


def _floats(present: Bools, values: Floats) -> Evaluated:
    return Evaluated(present, Cells(values, np.full(len(values), -1, np.int64), empty()))


def _at(windows: Windows, positions: Longs) -> Evaluated:
    samples = windows.samples
    cells = windows.position[positions]
    return Evaluated(np.ones(len(cells), np.bool_), Cells(samples.values[positions], cells, windows.histograms))


def _differing(windows: Windows) -> Evaluated:
    return _transitions(windows, _changed)


def _resetting(windows: Windows) -> Evaluated:
    return _transitions(windows, falls)


def _transitions(windows: Windows, differs: Callable[[Windows, Longs], Bools]) -> Evaluated:
    flags = pairs(windows, differs)
    found = between(flags, np.minimum(windows.lo + 1, windows.hi), windows.hi)
    return _floats(windows.counts > 0, found.astype(np.float64))


def _changed(windows: Windows, at: Longs) -> Bools:
    now, before = windows.samples.values[at], windows.samples.values[at - 1]
    unequal = (now != before) & ~(np.isnan(now) & np.isnan(before))
    return either(windows, at, unequal, lambda later, earlier: ~equal(windows.histograms, later, earlier))


def _aggregate(windows: Windows, by: Callable[[Histograms, Longs, Longs, int, Floats | None], Sums]) -> Evaluated:
    mixed = beside_floats(windows)
    rows = np.flatnonzero(~mixed)
    pure = windows.take(rows)
    positions, owner = members(pure.lo, pure.hi)
    weights = None if windows.samples.weights is None else windows.samples.weights[positions]
    total = by(windows.histograms, windows.position[positions], owner, len(rows), weights)
    notes = joined({Note.MIXED_IN_SERIES: mixed}, spread(total.notes, rows, len(mixed)))
    found = np.flatnonzero(total.present)
    return of_rows(rows[found], len(mixed), total.histograms.take(found), notes)


CHANGES = OfHistograms(_differing)
RESETS = OfHistograms(_resetting)
SUM = OfHistograms(lambda windows: _aggregate(windows, sum_by))
AVERAGE = OfHistograms(lambda windows: _aggregate(windows, average_by))
LAST = OfHistograms(lambda windows: _at(windows, windows.hi - 1), few=True)
FIRST = OfHistograms(lambda windows: _at(windows, windows.lo), few=True)
COUNT = OfHistograms(lambda windows: _floats(windows.counts > 0, windows.weights), few=True)
PRESENT = OfHistograms(lambda windows: _floats(windows.counts > 0, np.ones(len(windows.lo))), few=True)
