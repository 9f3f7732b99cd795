"""Merging the series of several shards or sources into one answer, pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from tael.model.histogram import concatenate, offsets_of
from tael.model.series import Exemplar, Family, Floats, Grid, Labels, Longs, Rollups, Samples

Ordered = TypeVar("Ordered", Labels, str)


def samples(parts: Sequence[Samples]) -> Samples:
    """All series by labels. A series that several parts know gets the samples of all of them; of samples at the same time, the
    last part's.
    """
    parts = [part for part in parts if len(part.labels)]
    if not parts:
        return Samples([], np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0))
    return parts[0] if len(parts) == 1 else united(parts)


def united(parts: Sequence[Samples]) -> Samples:
    """``samples`` of at least one part, for parts that may themselves hold a series more than once."""
    labels, rank = _ranked([label for part in parts for label in part.labels])
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    series = np.repeat(rank, sizes)
    times = np.concatenate([part.times_ms for part in parts])
    # Stable: each part has its series in order of time, and of samples at the same time the last part's must come last.
    order = np.argsort(series, kind="stable")
    if len(labels) < len(rank):
        order = order[np.lexsort((times[order], series[order]))]
        order = order[_last_of_a_time(series[order], times[order])]
    counts = np.bincount(series[order], minlength=len(labels))
    histogram, histograms = _histograms(parts)
    return Samples(
        labels,
        offsets_of(counts),
        times[order],
        np.concatenate([part.values for part in parts])[order],
        None if histogram is None else histogram[order],
        histograms,
        _rollups(parts),
        None if (weights := _weights(parts)) is None else weights[order],
    )


def _weights(parts: Sequence[Samples]) -> Floats | None:
    if all(part.weights is None for part in parts):
        return None
    # A part without weights has raw samples only, each of which stands for itself.
    return np.concatenate([np.ones(len(part.times_ms)) if part.weights is None else part.weights for part in parts])


def _rollups(parts: Sequence[Samples] | Sequence[Grid]) -> Rollups | None:
    found = [part.rollups for part in parts if part.rollups is not None]
    if not found:
        return None
    return Rollups(max(one.until_ms for one in found), all(one.exact for one in found), any(one.histograms for one in found))


def _ranked(labels: Sequence[Labels]) -> tuple[list[Labels], Longs]:
    """The distinct label sets in order, and for each of ``labels`` its position among them."""
    ordered = sorted(set(labels))
    positions = {label: position for position, label in enumerate(ordered)}
    return ordered, np.array([positions[label] for label in labels], np.int64)


def _last_of_a_time(series: Longs, times: Longs) -> Any:
    """A mask of the last row of each (series, time), of sorted rows."""
    last = np.ones(len(series), np.bool_)
    last[:-1] = (series[1:] != series[:-1]) | (times[1:] != times[:-1])
    return last


def _histograms(parts: Sequence[Samples]) -> tuple[Longs | None, Any]:
    """Positions and histograms of all parts, (None, None) if no part has any. A position is an index into the histograms, -1 for a float
    sample.
    """
    several = [part.histograms for part in parts if part.histograms is not None]
    if not several:
        return None, None
    moved, before = [], 0
    for part in parts:
        if part.histogram is None or part.histograms is None:
            moved.append(np.full(len(part.times_ms), -1, np.int64))
        else:
            # The histograms of all parts are concatenated, so positions move by the number of those before.
            moved.append(np.where(part.histogram < 0, -1, part.histogram + before))
            before += len(part.histograms)
    return np.concatenate(moved), concatenate(several)


def grids(parts: Sequence[Grid]) -> Grid | None:
    """All series by labels; None when two parts have the same series."""
    parts = [part for part in parts if len(part.labels)] or list(parts[:1])
    if len(parts) == 1:
        return parts[0]
    labels, rank = _ranked([label for part in parts for label in part.labels])
    # A function's value over the samples of two parts does not follow from its values over each.
    if len(labels) < len(rank):
        return None
    order = np.argsort(rank)
    values, present = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("values", "present"))
    return Grid(labels, values, present, _rollups(parts))


def ordered(parts: Iterable[Sequence[Ordered]], limit: int) -> list[Ordered]:
    """The distinct items in order; at most ``limit`` unless that is 0."""
    found = sorted({item for part in parts for item in part})
    return found[:limit] if limit else found


def families(parts: Iterable[Sequence[Family]], limit: int) -> list[Family]:
    """The distinct families by name; at most ``limit`` unless that is 0."""
    found = sorted({item for part in parts for item in part}, key=lambda family: (family.name, family.type, family.unit, family.help))
    return found[:limit] if limit else found


def exemplars(parts: Iterable[Sequence[Exemplar]]) -> list[Exemplar]:
    """The distinct exemplars, by series and time."""
    found = {item for part in parts for item in part}
    return sorted(found, key=lambda exemplar: (exemplar.series, exemplar.time_ms, exemplar.value, exemplar.labels))
