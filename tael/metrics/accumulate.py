"""Adds a delta histogram to a running total; only resolution is lost, as the coarser schema and the wider zero bucket win. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tael.pb.metrics_pb2 import Histogram


def add_histogram(total: Histogram, more: Histogram) -> Histogram:
    """The sum of both, at the time of ``more``. Both are exponential; neither is changed."""
    schema = min(total.schema, more.schema)
    threshold = _zero_threshold((total, more), schema)
    out = Histogram(metric=more.metric, series=more.series, time_ms=more.time_ms, schema=schema, zero_threshold=threshold)
    out.count, out.sum = total.count + more.count, total.sum + more.sum
    out.zero_count = total.zero_count + more.zero_count
    for indexes, counts in (("positive_index", "positive_counts"), ("negative_index", "negative_counts")):
        buckets: dict[int, float] = {}
        for part in (total, more):
            down = part.schema - schema
            for index, count in zip(getattr(part, indexes), getattr(part, counts), strict=True):
                # Each bucket of the finer schema lies entirely within one of the coarser schema, so only resolution is lost.
                coarse = ((index - 1) >> down) + 1
                buckets[coarse] = buckets.get(coarse, 0.0) + count
        for index in sorted(buckets):
            # Buckets inside the widened zero bucket become part of it.
            if threshold and upper_bound(index, schema) <= threshold:
                out.zero_count += buckets[index]
            else:
                getattr(out, indexes).append(index)
                getattr(out, counts).append(buckets[index])
    return out


def _zero_threshold(parts: Iterable[Histogram], schema: int) -> float:
    """The threshold of the widest zero bucket, raised to the upper bound of a filled bucket that it would cut."""
    parts = list(parts)
    threshold = max(part.zero_threshold for part in parts)
    if not threshold:
        return threshold
    bounds = [
        upper_bound(coarse, schema)
        for part in parts
        for indexes in (part.positive_index, part.negative_index)
        for coarse in (((index - 1) >> (part.schema - schema)) + 1 for index in indexes)
        if upper_bound(coarse - 1, schema) < threshold < upper_bound(coarse, schema)
    ]
    return max([threshold, *bounds])


def upper_bound(index: int, schema: int) -> float:
    """The upper bound of bucket ``index`` in a schema."""
    try:
        return float(2.0 ** (index * 2.0**-schema))
    except OverflowError:
        return float("inf")
