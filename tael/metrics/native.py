"""Converts and checks remote write's native histograms, integer and float: spans become indexes, deltas absolute counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from struct import pack

from tael.metrics.cache import Ids
from tael.metrics.translation import MAX_BUCKETS, Refused, unpack
from tael.model.histogram import CUSTOM_BUCKETS, MAX_SCHEMA, MIN_SCHEMA
from tael.model.series import STALE, STALE_BITS
from tael.pb import remote_write_pb2 as wire
from tael.pb.metrics_pb2 import Histogram

_STALE_BYTES = STALE_BITS.to_bytes(8, "little")


def native_histogram(ids: Ids, time_ms: int, received: wire.Histogram) -> Histogram:
    """The histogram as it is stored. Raises Refused for an inconsistent one."""
    [(metric, series)] = unpack(ids)
    # Compared as bytes, because the stale marker is one particular NaN, and NaNs never compare equal.
    if pack("<d", received.sum) == _STALE_BYTES:
        return Histogram(metric=metric, series=series, time_ms=time_ms, sum=STALE)
    custom = received.schema == CUSTOM_BUCKETS
    if not custom and not MIN_SCHEMA <= received.schema <= MAX_SCHEMA:
        raise Refused(f"histogram schema {received.schema} is neither from {MIN_SCHEMA} to {MAX_SCHEMA} nor {CUSTOM_BUCKETS}")
    is_float = received.WhichOneof("count") == "count_float"
    positive = _buckets(received.positive_spans, received.positive_counts if is_float else accumulate(received.positive_deltas))
    negative = _buckets(received.negative_spans, received.negative_counts if is_float else accumulate(received.negative_deltas))
    zero_count = float(received.zero_count_float if received.WhichOneof("zero_count") == "zero_count_float" else received.zero_count_int)
    count = float(received.count_float if is_float else received.count_int)
    if custom:
        _check_custom(received, positive[0], has_others=bool(negative[0] or zero_count))
    if not is_float:
        _check_count(count, zero_count + sum(positive[1]) + sum(negative[1]), received.sum)
    return Histogram(
        metric=metric,
        series=series,
        time_ms=time_ms,
        schema=received.schema,
        count=count,
        sum=received.sum,
        zero_threshold=received.zero_threshold,
        zero_count=zero_count,
        positive_index=positive[0],
        positive_counts=positive[1],
        negative_index=negative[0],
        negative_counts=negative[1],
        custom_bounds=received.custom_values if custom else (),
        reset_hint=received.reset_hint if 0 <= received.reset_hint <= 3 else 0,
    )


def _buckets(spans: Sequence[wire.Span], counts: Iterable[float]) -> tuple[list[int], list[float]]:
    """The indexes and counts of the buckets that are not empty."""
    values = [float(count) for count in counts]
    if sum(span.length for span in spans) != len(values):
        raise Refused("a histogram's spans do not match its counts")
    if len(values) > MAX_BUCKETS:
        raise Refused(f"a histogram has {len(values)} buckets of one sign, more than {MAX_BUCKETS}")
    # The first offset is an index and may be negative; later offsets are gaps.
    if any(span.offset < 0 for span in spans[1:]) or any(value < 0 for value in values):
        raise Refused("a histogram has spans that overlap, or a negative count")
    indexes: list[int] = []
    at = 0
    for span in spans:
        at += span.offset
        indexes += range(at, at + span.length)
        at += span.length
    # Checking both ends is enough: indexes ascend, because gaps are not negative.
    if indexes and not -(1 << 31) <= indexes[0] <= indexes[-1] < 1 << 31:
        raise Refused("a histogram's bucket index is beyond 32 bits")
    filled = [(index, value) for index, value in zip(indexes, values, strict=True) if value]
    return [index for index, _ in filled], [value for _, value in filled]


def _check_custom(received: wire.Histogram, indexes: list[int], *, has_others: bool) -> None:
    bounds = received.custom_values
    if not all(low < high for low, high in pairwise(bounds)) or not all(map(math.isfinite, bounds)):
        raise Refused("a histogram's custom bounds are not ascending")
    if len(bounds) > MAX_BUCKETS or (indexes and not 0 <= indexes[0] <= indexes[-1] <= len(bounds)):
        raise Refused("a histogram has buckets beyond its custom bounds")
    if has_others:
        raise Refused("a histogram with custom bounds has negative buckets or a zero bucket")


def _check_count(count: float, counted: float, total: float) -> None:
    """Raise Refused unless the buckets add up to the count; with a sum of NaN they may be fewer, as observed NaNs are in no bucket."""
    if counted > count or (counted < count and not math.isnan(total)):
        raise Refused(f"a histogram counts {count:.0f} observations and has {counted:.0f} in its buckets")
