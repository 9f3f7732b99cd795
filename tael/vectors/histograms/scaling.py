"""Native histograms multiplied and divided by numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tael.model.histogram import RESET_GAUGE, Buckets, Histograms, offsets_of
from tael.model.series import Floats


def scaled(histograms: Histograms, factors: Floats) -> Histograms:
    """Each histogram times its own factor; buckets that become empty are left out, and a negative factor makes a gauge."""
    with np.errstate(invalid="ignore", over="ignore"):
        return replace(
            histograms,
            count=histograms.count * factors,
            sum=histograms.sum * factors,
            zero_count=histograms.zero_count * factors,
            positive=_scaled(histograms.positive, factors),
            negative=_scaled(histograms.negative, factors),
            reset_hint=np.where(factors < 0, np.uint8(RESET_GAUGE), histograms.reset_hint),
        )


def divided(histograms: Histograms, by: Floats) -> Histograms:
    """Each histogram divided by its own number; division by 0 leaves only the zero bucket, and a negative number makes a gauge."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        positive, negative = (
            kept(side, np.where(by[side.owner] == 0, 0.0, side.counts / by[side.owner]))
            for side in (histograms.positive, histograms.negative)
        )
        return replace(
            histograms,
            count=histograms.count / by,
            sum=histograms.sum / by,
            zero_count=np.where(histograms.bounds >= 0, 0.0, histograms.zero_count / by),
            positive=positive,
            negative=negative,
            reset_hint=np.where(by < 0, np.uint8(RESET_GAUGE), histograms.reset_hint),
        )


def _scaled(buckets: Buckets, factors: Floats) -> Buckets:
    return kept(buckets, buckets.counts * factors[buckets.owner])


def kept(buckets: Buckets, counts: Floats) -> Buckets:
    """The buckets with new ``counts``, without those that are 0."""
    filled = counts != 0
    # positions[i] counts the filled buckets before i: the new offset of a histogram whose buckets began at i.
    positions = offsets_of(filled.astype(np.int64))
    return Buckets(positions[buckets.offsets], buckets.index[filled], counts[filled])
