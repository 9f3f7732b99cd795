"""Classic histograms as native ones with custom buckets (``load_with_nhcb``)."""

from __future__ import annotations

from tael.model.series import Samples


def converted(samples: Samples) -> Samples:
    """The native histograms with custom buckets that ``…_bucket``, ``…_count`` and ``…_sum`` series of ``samples`` amount to, by time.

    Series are named without the suffix and without ``le``; what is no classic histogram is left out.
    """
    raise NotImplementedError
