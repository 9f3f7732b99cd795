"""Native histograms as JSON, in the form of Prometheus' HTTP API."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from tael.model.histogram import Histograms
from tael.syntax.literals import compact
from tael.vectors.histograms.dense import ascending

_OPEN_LEFT, _OPEN_RIGHT, _CLOSED = 0, 1, 3
Document: TypeAlias = "dict[str, Any]"
"""A native histogram as a JSON object."""


def documents(histograms: Histograms) -> list[Document]:
    """Each as ``{"count": "4", "sum": "5", "buckets": [[rule, "lower", "upper", "count"], …]}``, ascending, empty buckets left out.

    The rule says which bounds are inclusive: 0 the upper, 1 the lower, 2 neither, 3 both. ``buckets`` is left out when there are none.
    """
    row = ascending(histograms)
    rule = np.where(row.sign < 0, _OPEN_RIGHT, np.where((row.sign == 0) | np.isneginf(row.lower), _CLOSED, _OPEN_LEFT))
    texts = [[compact(value) for value in column.tolist()] for column in (row.lower, row.upper, row.counts)]
    buckets = [list(bucket) for bucket in zip(rule.tolist(), *texts, strict=True)]
    totals = zip(histograms.count.tolist(), histograms.sum.tolist(), strict=True)
    offsets = row.offsets.tolist()
    return [_document(count, total, buckets[offsets[i] : offsets[i + 1]]) for i, (count, total) in enumerate(totals)]


def _document(count: float, total: float, buckets: list[list[Any]]) -> Document:
    document: Document = {"count": compact(count), "sum": compact(total)}
    if buckets:
        document["buckets"] = buckets
    return document
