"""Native histograms as arrays: many at once, so that arithmetic on them is arithmetic on columns.

The terms are Prometheus' (its native histogram specification): ``schema`` -4…8 are exponential with ``2^(2^-schema)`` between bounds, -53
has custom bounds. Bucket ``i`` of an exponential schema covers ``(base^(i-1), base^i]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CUSTOM_BUCKETS = -53
RESET_UNKNOWN, RESET_YES, RESET_NO, RESET_GAUGE = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Buckets:
    """The non-empty buckets of one sign, or the custom bounds, of ``n`` histograms in one row after the other.

    Histogram ``i`` has the entries from ``offsets[i]`` up to, not including, ``offsets[i + 1]``; ``index`` grows within a histogram.
    """

    offsets: npt.NDArray[np.int64]
    index: npt.NDArray[np.int32]
    counts: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Histograms:
    """``n`` float histograms; counts are absolute for each bucket, neither deltas nor cumulative."""

    schema: npt.NDArray[np.int32]
    count: npt.NDArray[np.float64]
    sum: npt.NDArray[np.float64]
    zero_threshold: npt.NDArray[np.float64]
    zero_count: npt.NDArray[np.float64]
    positive: Buckets
    negative: Buckets
    custom_offsets: npt.NDArray[np.int64]
    custom_bounds: npt.NDArray[np.float64]
    reset_hint: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.schema)
