"""The functions that read numbers from native histograms: one number a histogram, all of them at once."""

from __future__ import annotations

from services.query.promql.histogram_notes import Notes
from tael.model.histogram import Histograms
from tael.model.series import Floats


def mean(histograms: Histograms) -> Floats:
    """``histogram_avg``. ``histogram_count`` and ``histogram_sum`` are the columns ``count`` and ``sum`` themselves."""
    raise NotImplementedError


def variance(histograms: Histograms) -> Floats:
    """``histogram_stdvar``; ``histogram_stddev`` is its square root."""
    raise NotImplementedError


def quantile(q: Floats, histograms: Histograms) -> tuple[Floats, Notes]:
    """``histogram_quantile`` of each histogram at its own ``q[i]``; warning of a ``q`` outside 0…1 is the caller's."""
    raise NotImplementedError


def fraction(lower: Floats, upper: Floats, histograms: Histograms) -> tuple[Floats, Notes]:
    """``histogram_fraction`` of each histogram between its own ``lower[i]`` and ``upper[i]``."""
    raise NotImplementedError
