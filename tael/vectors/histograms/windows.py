"""Windows over samples that are native histograms or a mix with floats: what each holds, and where counters were reset in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tael.model.histogram import Histograms, empty
from tael.model.series import Bools, Floats, Longs, Samples
from tael.vectors.histograms.binary import Cells
from tael.vectors.histograms.notes import Note, Notes, joined
from tael.vectors.histograms.resets import detect


@dataclass(frozen=True, slots=True)
class Windows:
    """``len(lo)`` windows: window ``w`` is over ``samples`` from ``lo[w]`` up to, not including, ``hi[w]``, all of one series, no stale
    markers.

    In time it is ``start_ms[w] < t <= end_ms[w]``.
    """

    samples: Samples
    lo: Longs
    hi: Longs
    start_ms: Longs
    end_ms: Longs

    @property
    def position(self) -> Longs:
        """For each sample its position among the histograms, -1 for a float."""
        found = self.samples.histogram
        return np.full(len(self.samples.values), -1, np.int64) if found is None else found

    @property
    def histograms(self) -> Histograms:
        """The histograms of the samples."""
        return self.samples.histograms or empty()

    @property
    def counts(self) -> Longs:
        """How many samples each window holds."""
        return self.hi - self.lo

    @property
    def weights(self) -> Floats:
        """How many original samples each window stands for: more than ``counts`` where rollups left some out."""
        weights = self.samples.weights
        if weights is None:
            return self.counts.astype(np.float64)
        # Running sums from 0: what a window holds is one subtraction.
        running = np.concatenate((np.zeros(1), np.cumsum(weights)))
        return running[self.hi] - running[self.lo]

    def take(self, rows: Longs | slice) -> Windows:
        """The windows at ``rows``."""
        return Windows(self.samples, self.lo[rows], self.hi[rows], self.start_ms[rows], self.end_ms[rows])

    def part(self, begin: int, end: int) -> Windows:
        """The windows ``begin`` up to ``end``, with the samples cut down to those that they span."""
        chosen = self.take(slice(begin, end))
        if len(chosen.lo) == 0:
            return chosen
        first, last = int(chosen.lo.min()), int(chosen.hi.max())
        found = self.samples.histogram
        samples = replace(
            self.samples,
            offsets=np.array([0, last - first], np.int64),
            times_ms=self.samples.times_ms[first:last],
            values=self.samples.values[first:last],
            histogram=None if found is None else found[first:last],
            weights=None if self.samples.weights is None else self.samples.weights[first:last],
        )
        return Windows(samples, chosen.lo - first, chosen.hi - first, chosen.start_ms, chosen.end_ms)

    def counted(self, flags: Bools) -> Longs:
        """How many of each window's samples are flagged."""
        return between(flags, self.lo, self.hi)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The result of a function: one sample for each window where ``present`` is True."""

    present: Bools
    samples: Cells
    notes: Notes = field(default_factory=dict)


def with_histograms(samples: Samples, lo: Longs, hi: Longs) -> Bools:
    """A mask of the windows that hold a histogram; only these are passed to ``over_time.evaluate``."""
    if samples.histogram is None:
        return np.zeros(lo.shape, np.bool_)
    return between(samples.histogram >= 0, lo, hi) > 0


def ignored(windows: Windows) -> Notes:
    """The notes for a function that ignores histograms and is evaluated over the windows' floats alone."""
    return joined({Note.IGNORED_IN_RANGE: beside_floats(windows)})


def between(flags: Bools, lo: Longs, hi: Longs) -> Longs:
    """How many of the positions from each ``lo`` up to, not including, its ``hi`` are flagged."""
    running = np.concatenate((np.zeros(1, np.int64), np.cumsum(flags, dtype=np.int64)))
    return running[hi] - running[lo]


def beside_floats(windows: Windows) -> Bools:
    """A mask of the windows that also hold floats."""
    return windows.counted(windows.position < 0) > 0


def of_rows(rows: Longs, count: int, histograms: Histograms, notes: Notes) -> Evaluated:
    """``histograms[k]`` as the result of window ``rows[k]`` of ``count``."""
    cells = np.full(count, -1, np.int64)
    cells[rows] = np.arange(len(rows))
    return Evaluated(cells >= 0, Cells(np.full(count, np.nan), cells, histograms), notes)


def spread(notes: Notes, rows: Longs, count: int) -> Notes:
    """Notes on the windows ``rows`` as notes on all ``count`` windows."""
    result: Notes = {}
    for note, mask in notes.items():
        result[note] = np.zeros(count, np.bool_)
        result[note][rows] = mask
    return result


def members(lo: Longs, hi: Longs) -> tuple[Longs, Longs]:
    """The positions from ``lo`` up to ``hi`` of every window, one after the other, and the window of each."""
    sizes = hi - lo
    owner = np.repeat(np.arange(len(lo)), sizes)
    # A count through all windows, minus where each window's count begins, plus where its samples begin.
    starts = np.cumsum(sizes) - sizes
    return np.arange(len(owner)) - starts[owner] + lo[owner], owner


def native(windows: Windows) -> Bools:
    """A mask of the samples that are histograms."""
    return windows.position >= 0


def fallen(windows: Windows) -> Bools:
    """A mask of the samples that follow a counter reset, judged only where a window holds both the sample and the one before it."""
    return pairs(windows, falls)


def falls(windows: Windows, at: Longs) -> Bools:
    """Whether the samples ``at``, read as counters, follow a reset."""
    fell = windows.samples.values[at] < windows.samples.values[at - 1]
    return either(windows, at, fell, lambda later, earlier: detect(windows.histograms, later, earlier))


def either(windows: Windows, at: Longs, floats: Bools, histograms: Callable[[Longs, Longs], Bools]) -> Bools:
    """For each of ``at`` and the sample before it: ``floats`` for two floats, ``histograms`` for two histograms, True where the kind
    changes.
    """
    # at - 1 is in the same window: ``pairs`` asks only about samples that have one before them.
    now, before = windows.position[at], windows.position[at - 1]
    result = np.where((now >= 0) == (before >= 0), floats, True)
    both = (now >= 0) & (before >= 0)
    result[both] = histograms(now[both], before[both])
    return result


def pairs(windows: Windows, differs: Callable[[Windows, Longs], Bools]) -> Bools:
    """A mask of the samples for which ``differs`` holds, among those that have a sample before them in some window."""
    size = len(windows.samples.values)
    # A window covers its samples from the second on: +1 there and -1 after its end add up to the number of windows that cover a sample. An
    # empty window and one of a single sample begin where they end and cover nothing.
    edges = np.bincount(np.minimum(windows.lo + 1, windows.hi), minlength=size + 1) - np.bincount(windows.hi, minlength=size + 1)
    flags = np.zeros(size, np.bool_)
    covered = np.flatnonzero(np.cumsum(edges)[:size] > 0)
    flags[covered] = differs(windows, covered)
    return flags
