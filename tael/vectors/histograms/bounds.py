"""Where the buckets of native histograms lie: bounds, coarser schemas, and the bounds that several custom layouts share."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np

from tael.model.histogram import Bounds, Buckets, Histograms, Ints, Longs
from tael.model.series import Floats

_MAX_EXPONENT = 1024


def upper_bounds(index: Ints, schema: Ints) -> Floats:
    """The upper bound of exponential bucket ``index[i]`` of ``schema[i]``; of negative buckets the absolute value of the lower one.

    A bucket whose bound exceeds the largest float ends at that float, as in Prometheus.
    """
    exponent = np.ldexp(index.astype(np.float64), -schema)
    with np.errstate(over="ignore"):
        # 2**1024 is infinite, and the bucket would swallow the overflow bucket.
        return np.where(exponent == _MAX_EXPONENT, sys.float_info.max, np.exp2(exponent))


def reduced(index: Ints, schema: Ints, target: Ints) -> Ints:
    """The bucket of the coarser ``target`` schema that holds the bucket ``index`` of ``schema``."""
    # Bucket i ends at its bound: (i - 1) >> n groups 2**n buckets with a common upper end; an arithmetic shift is right for negative ones.
    return ((index - 1) >> (schema - target)) + 1


def custom_limits(layout: Bounds) -> tuple[Floats, Floats]:
    """Lower and upper bounds of every bucket of a custom layout, the open ends infinite."""
    ends = np.array([-np.inf, *layout, np.inf])
    return ends[:-1], ends[1:]


def shared_bounds(layouts: Iterable[Bounds]) -> Bounds:
    """The bounds that all of ``layouts`` have in common: the finest layout that each of them can be converted to."""
    sets = [frozenset(layout) for layout in layouts]
    return tuple(sorted(sets[0].intersection(*sets[1:])))


def custom_mapping(source: Bounds, target: Bounds) -> Longs:
    """For each bucket of ``source`` the bucket of ``target`` that holds it; the bounds of ``target`` are a subset of those of
    ``source``.
    """
    # A bucket goes to the first target bucket that does not end below it; the last one, up to +Inf, to the last.
    return np.append(np.searchsorted(np.array(target), np.array(source)), len(target)).astype(np.int64)


def limits(histograms: Histograms, buckets: Buckets) -> tuple[Floats, Floats]:
    """The bounds of the buckets of one side of ``histograms``, negative ones by their absolute values."""
    owner = buckets.owner
    layout = histograms.bounds[owner]
    exponential = layout < 0
    schema = np.where(exponential, histograms.schema[owner], 0).astype(np.int32)
    lower, upper = upper_bounds(buckets.index - np.int32(1), schema), upper_bounds(buckets.index, schema)
    for position in np.unique(layout[~exponential]):
        chosen = layout == position
        begins, ends = custom_limits(histograms.layouts[position])
        lower[chosen], upper[chosen] = begins[buckets.index[chosen]], ends[buckets.index[chosen]]
    return lower, upper
