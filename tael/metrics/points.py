"""Translates single points to series: numbers, classic buckets with ``le``, native histograms, quantiles. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate, pairwise
from typing import TypeAlias

from tael.metrics.cache import PAIR_BYTES, Ids
from tael.metrics.context import Context
from tael.metrics.exemplars import read_exemplars
from tael.metrics.labels import number_text, parse_attributes
from tael.metrics.numbers import NS_PER_MS, tail_of
from tael.metrics.translation import MAX_BUCKETS, Draft, Refused, unpack
from tael.model.histogram import MAX_SCHEMA, MIN_SCHEMA
from tael.model.lanes import counted_at_ms
from tael.model.series import STALE
from tael.pb.metrics_pb2 import Histogram
from tael.pb.metrics_request_pb2 import Buckets, ExponentialPoint, HistogramPoint, NumberPoint, SummaryPoint

NO_RECORDED_VALUE = 1
LabelSets: TypeAlias = "Callable[[], Sequence[dict[str, str]]]"
_INDEX_LIMIT = 1 << 31


def add_number(raw: bytes, context: Context, draft: Draft) -> int:
    """Add a point of a gauge or a sum to the draft; return its time in ms.

    Like all of these functions, it raises Refused, ValueError or DecodeError for a point that cannot be stored, and then leaves the draft
    unchanged.
    """
    point = NumberPoint.FromString(raw)
    time_ms, stale = draft.time_ms(point.time_unix_nano // NS_PER_MS), point.flags & NO_RECORDED_VALUE
    member = point.WhichOneof("value")
    if member is None and not stale:
        raise Refused("missing value")
    attributes, tail = tuple(point.attributes), tail_of(raw)
    key = attributes if tail is None else tail
    ids = _identify(draft, context, time_ms, stale, key, lambda: [context.labels(parse_attributes(attributes))])
    exemplars = read_exemplars(point.exemplars, lambda _: ids, context.names, time_ms)
    _add_samples(draft, context, ids, time_ms, None if stale else (float(getattr(point, member)),))
    draft.exemplars += exemplars
    return time_ms


def _identify(draft: Draft, context: Context, time_ms: int, stale: int, key: Hashable, label_sets: LabelSets) -> Ids:
    """The ids of a point's series, which are announced for the hour in which the point (for deltas: the increment) counts."""
    counts_ms = counted_at_ms(time_ms, draft.now_ms) if context.delta and not stale else time_ms
    return draft.identify(context.known, counts_ms, key, label_sets)


def _add_samples(draft: Draft, context: Context, ids: Ids, time_ms: int, values: Sequence[float] | None) -> None:
    """Add samples or increments, by the metric's temporality; ``values`` None adds a stale marker, for deltas too."""
    if values is None:
        draft.samples.add(ids, time_ms, (STALE,) * (len(ids) // PAIR_BYTES))
    elif not context.delta:
        draft.samples.add(ids, time_ms, values)
    elif all(map(math.isfinite, values)):
        draft.deltas.add(ids, time_ms, values)
    else:
        raise Refused("an increment that is not finite cannot be added to a total")


def add_histogram(raw: bytes, context: Context, draft: Draft) -> int:
    """Add a point with explicit bounds: ``_bucket`` for each bound and +Inf, ``_count``, and ``_sum`` if there is one; return its time in
    ms.
    """
    point = HistogramPoint.FromString(raw)
    time_ms, stale = draft.time_ms(point.time_unix_nano // NS_PER_MS), point.flags & NO_RECORDED_VALUE
    bounds, counts = _finite(tuple(point.explicit_bounds), list(point.bucket_counts))
    if not stale and len(counts) != len(bounds) + 1 and (counts or bounds):
        raise Refused(f"{len(point.bucket_counts)} bucket counts do not fit {len(point.explicit_bounds)} bounds")
    attributes, has_sum = tuple(point.attributes), point.HasField("sum")

    def label_sets() -> list[dict[str, str]]:
        own = parse_attributes(attributes)
        tops = [*(number_text(bound) for bound in _ascending(bounds)), "+Inf"]
        sets = [context.labels(own, "_bucket", le=top) for top in tops] + [context.labels(own, "_count")]
        return [*sets, context.labels(own, "_sum")] if has_sum else sets

    ids = _identify(draft, context, time_ms, stale, (attributes, bounds, has_sum), label_sets)
    exemplars = read_exemplars(point.exemplars, lambda value: _bucket_of(ids, bounds, value), context.names, time_ms)
    # Prometheus' buckets are cumulative, and +Inf must equal the count, whatever the buckets add up to.
    values = [*map(float, accumulate(counts[:-1])), float(point.count), float(point.count), *((point.sum,) if has_sum else ())]
    _add_samples(draft, context, ids, time_ms, None if stale else values)
    draft.exemplars += exemplars
    return time_ms


def _finite(bounds: tuple[float, ...], counts: list[int]) -> tuple[tuple[float, ...], list[int]]:
    """Bounds without a final +Inf, which some SDKs send, and counts with its bucket merged into the overflow bucket, which is the same."""
    if not bounds or bounds[-1] != math.inf:
        return bounds, counts
    return bounds[:-1], [*counts[:-2], sum(counts[-2:])] if len(counts) > len(bounds) else counts


def _ascending(bounds: Sequence[float]) -> Sequence[float]:
    if not all(low < high for low, high in pairwise(bounds)) or not all(bound < math.inf for bound in bounds):
        raise Refused("its bounds are not ascending")
    return bounds


def _bucket_of(ids: Ids, bounds: Sequence[float], value: float) -> Ids:
    # bisect_left, because a bucket includes its upper bound; beyond the last bound it yields the position of +Inf.
    at = bisect_left(bounds, value) * PAIR_BYTES
    return ids[at : at + PAIR_BYTES]


def add_exponential(raw: bytes, context: Context, draft: Draft) -> int:
    """Add an exponential point as a native histogram; return its time in ms.

    OTLP's bucket ``i`` is Prometheus' ``i + 1``; scales above 8 are reduced to 8.
    """
    point = ExponentialPoint.FromString(raw)
    time_ms = draft.time_ms(point.time_unix_nano // NS_PER_MS)
    stale = point.flags & NO_RECORDED_VALUE
    if point.scale < MIN_SCHEMA and not stale:
        raise Refused(f"scale {point.scale} is coarser than the {MIN_SCHEMA} that native histograms have")
    histogram = Histogram(sum=STALE) if stale else _native(point)
    attributes = tuple(point.attributes)
    ids = _identify(draft, context, time_ms, stale, attributes, lambda: [context.labels(parse_attributes(attributes))])
    exemplars = read_exemplars(point.exemplars, lambda _: ids, context.names, time_ms)
    [(histogram.metric, histogram.series)], histogram.time_ms = unpack(ids), time_ms
    (draft.delta_histograms if context.delta and not stale else draft.histograms).append(histogram)
    draft.exemplars += exemplars
    return time_ms


def _native(point: ExponentialPoint) -> Histogram:
    """The point's histogram, without the ids of its series."""
    down = max(0, point.scale - MAX_SCHEMA)
    positive_index, positive_counts = _native_buckets(point.positive, down)
    negative_index, negative_counts = _native_buckets(point.negative, down)
    return Histogram(
        schema=point.scale - down,
        count=point.count,
        sum=point.sum if point.HasField("sum") else math.nan,
        zero_threshold=point.zero_threshold,
        zero_count=point.zero_count,
        positive_index=positive_index,
        positive_counts=positive_counts,
        negative_index=negative_index,
        negative_counts=negative_counts,
    )


def _native_buckets(buckets: Buckets, down: int) -> tuple[list[int], list[float]]:
    """The indexes and counts of the buckets that are not empty; each step of ``down`` merges pairs of buckets."""
    if len(buckets.bucket_counts) > MAX_BUCKETS:
        raise Refused(f"it has {len(buckets.bucket_counts)} buckets of one sign, more than {MAX_BUCKETS}")
    found: dict[int, int] = {}
    for position, count in enumerate(buckets.bucket_counts, buckets.offset):
        if count:
            # OTLP's bucket i ends at base^(i+1), Prometheus' at base^i; the shift rounds down, for negative indexes too.
            index = (position >> down) + 1
            found[index] = found.get(index, 0) + count
    if found and max(found) >= _INDEX_LIMIT:
        raise Refused("a bucket's index is beyond 32 bits")
    return list(found), [float(count) for count in found.values()]


def add_summary(raw: bytes, context: Context, draft: Draft) -> int:
    """Add a summary point: a series for each quantile, ``_sum`` and ``_count``; return its time in ms."""
    point = SummaryPoint.FromString(raw)
    time_ms = draft.time_ms(point.time_unix_nano // NS_PER_MS)
    attributes, quantiles = tuple(point.attributes), tuple(item.quantile for item in point.quantile_values)

    def label_sets() -> list[dict[str, str]]:
        own = parse_attributes(attributes)
        sets = [context.labels(own, quantile=number_text(quantile)) for quantile in quantiles]
        return [*sets, context.labels(own, "_sum"), context.labels(own, "_count")]

    # Not through _identify(): summaries have no temporality, so they are never increments.
    ids = draft.identify(context.known, time_ms, (attributes, quantiles), label_sets)
    values = [*(item.value for item in point.quantile_values), point.sum, float(point.count)]
    _add_samples(draft, context, ids, time_ms, None if point.flags & NO_RECORDED_VALUE else values)
    return time_ms
