"""Native histograms in the answers of Prometheus' HTTP API."""

from __future__ import annotations

from typing import Any

from tael.model.histogram import Histograms


def documents(histograms: Histograms) -> list[dict[str, Any]]:
    """Each as ``{"count": "4", "sum": "5", "buckets": [[rule, "lower", "upper", "count"], …]}``, ascending, empty buckets left out.

    The rule says which ends belong to a bucket: 0 the upper, 1 the lower, 2 neither, 3 both.
    """
    raise NotImplementedError
