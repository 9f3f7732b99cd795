"""Native histograms as text: the ``{{schema:0 sum:5 count:4 buckets:[1 2 1]}}`` of test scripts, and the form that labels hold."""

from __future__ import annotations

from tael.model.histogram import Histograms


def parse(text: str) -> Histograms:
    """The one histogram of ``{{key:value …}}``; raises Rejected, naming the key, for anything else.

    Keys are schema, sum, count, z_bucket, z_bucket_w, custom_values, buckets, offset, n_buckets, n_offset, counter_reset_hint (unknown,
    reset, not_reset, gauge). All may be left out.
    """
    raise NotImplementedError


def series(first: Histograms, step: Histograms | None, times: int, *, subtract: bool = False) -> Histograms:
    """``first``, then ``times`` more, each ``step`` more (or less) than the one before; the expansion of ``{{…}}+{{…}}x5``."""
    raise NotImplementedError


def expressions(histograms: Histograms) -> list[str]:
    """Each as ``{{…}}``; ``parse`` reads it back."""
    raise NotImplementedError


def strings(histograms: Histograms) -> list[str]:
    """Each as Prometheus prints it, ``{count:4, sum:5, (0.5,1]:1, …}``: what ``count_values`` puts into a label."""
    raise NotImplementedError
