"""Histogram and summary points as series: classic buckets with ``le``, native histograms, quantiles; one point at a time, pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

from tael.metrics.cache import Ids
from tael.metrics.context import Context
from tael.metrics.exemplars import add_exemplars
from tael.metrics.labels import number_text, parse_attributes
from tael.metrics.numbers import NS_PER_MS, tail_of
from tael.metrics.translation import MAX_BUCKETS, Draft, Refused, unpack
from tael.model.histogram import MAX_SCHEMA, MIN_SCHEMA
from tael.model.series import STALE
from tael.pb.metrics_pb2 import Histogram
from tael.pb.metrics_request_pb2 import Buckets, ExponentialPoint, HistogramPoint, NumberPoint, SummaryPoint

NO_RECORDED_VALUE = 1
_PAIR = 16
_INDEX_LIMIT = 1 << 31


def add_number(raw: bytes, context: Context, draft: Draft) -> None:
    """A point of a gauge or a sum. Like all of these functions it raises Refused, ValueError or DecodeError for one that cannot be stored."""
    point = NumberPoint.FromString(raw)
    time_ms = draft.time_ms(point.time_unix_nano // NS_PER_MS)
    attributes, tail = tuple(point.attributes), tail_of(raw)
    key = attributes if tail is None else tail
    ids = draft.identify(context.known, time_ms, key, lambda: [context.labels(parse_attributes(attributes))])
    add_exemplars(point.exemplars, lambda _: ids, context.names, time_ms, draft)
    member = point.WhichOneof("value")
    if point.flags & NO_RECORDED_VALUE:
        draft.samples.add(ids, time_ms, (STALE,))
    elif member is None:
        raise Refused("it has no value")
    else:
        (draft.deltas if context.delta else draft.samples).add(ids, time_ms, (float(getattr(point, member)),))


def add_histogram(raw: bytes, context: Context, draft: Draft) -> None:
    """A point with explicit bounds: ``_bucket`` for each bound and +Inf, ``_count``, and ``_sum`` if it has one."""
    point = HistogramPoint.FromString(raw)
    time_ms = draft.time_ms(point.time_unix_nano // NS_PER_MS)
    bounds, counts = tuple(point.explicit_bounds), list(point.bucket_counts)
    stale = point.flags & NO_RECORDED_VALUE
    if not stale and len(counts) != len(bounds) + 1 and (counts or bounds):
        raise Refused(f"{len(counts)} bucket counts do not fit {len(bounds)} bounds")
    attributes, has_sum = tuple(point.attributes), point.HasField("sum")

    def label_sets() -> list[dict[str, str]]:
        own = parse_attributes(attributes)
        tops = [*(number_text(bound) for bound in _ascending(bounds)), "+Inf"]
        sets = [context.labels(own, "_bucket", le=top) for top in tops] + [context.labels(own, "_count")]
        return [*sets, context.labels(own, "_sum")] if has_sum else sets

    ids = draft.identify(context.known, time_ms, (attributes, bounds, has_sum), label_sets)
    add_exemplars(point.exemplars, lambda value: _bucket_of(ids, bounds, value), context.names, time_ms, draft)
    if stale:
        draft.samples.add(ids, time_ms, (STALE,) * (len(ids) // _PAIR))
    else:
        values = [*map(float, accumulate(counts[:-1])), float(point.count), float(point.count)]
        if has_sum:
            values.append(point.sum)
        (draft.deltas if context.delta else draft.samples).add(ids, time_ms, values)


def _ascending(bounds: Sequence[float]) -> Sequence[float]:
    if not all(low < high for low, high in pairwise(bounds)) or any(math.isnan(bound) for bound in bounds):
        raise Refused("its bounds do not ascend")
    return bounds[:-1] if bounds and bounds[-1] == math.inf else bounds


def _bucket_of(ids: Ids, bounds: Sequence[float], value: float) -> Ids:
    at = bisect_left(bounds, value) * _PAIR
    return ids[at : at + _PAIR]


def add_exponential(raw: bytes, context: Context, draft: Draft) -> None:
    """An exponential point as a native histogram: OTLP's bucket ``i`` is Prometheus' ``i + 1``; scales over 8 are brought down to 8."""
    point = ExponentialPoint.FromString(raw)
    time_ms = draft.time_ms(point.time_unix_nano // NS_PER_MS)
    stale = point.flags & NO_RECORDED_VALUE
    if point.scale < MIN_SCHEMA and not stale:
        raise Refused(f"scale {point.scale} is coarser than the {MIN_SCHEMA} that native histograms have")
    attributes = tuple(point.attributes)
    ids = draft.identify(context.known, time_ms, attributes, lambda: [context.labels(parse_attributes(attributes))])
    [(metric, series)] = unpack(ids)
    if stale:
        draft.histograms.append(Histogram(metric=metric, series=series, time_ms=time_ms, sum=STALE))
        return
    down = max(0, point.scale - MAX_SCHEMA)
    positive_index, positive_counts = _native_buckets(point.positive, down)
    negative_index, negative_counts = _native_buckets(point.negative, down)
    histogram = Histogram(
        metric=metric,
        series=series,
        time_ms=time_ms,
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
    add_exemplars(point.exemplars, lambda _: ids, context.names, time_ms, draft)
    (draft.delta_histograms if context.delta else draft.histograms).append(histogram)


def _native_buckets(buckets: Buckets, down: int) -> tuple[list[int], list[float]]:
    """Index and count of each bucket that is not empty; each step of ``down`` merges two buckets."""
    if len(buckets.bucket_counts) > MAX_BUCKETS:
        raise Refused(f"it has {len(buckets.bucket_counts)} buckets of one sign, more than {MAX_BUCKETS}")
    found: dict[int, int] = {}
    for position, count in enumerate(buckets.bucket_counts, buckets.offset):
        if count:
            index = (position >> down) + 1
            found[index] = found.get(index, 0) + count
    if found and max(found) >= _INDEX_LIMIT:
        raise Refused("a bucket's index is beyond 32 bits")
    return list(found), [float(count) for count in found.values()]


def add_summary(raw: bytes, context: Context, draft: Draft) -> None:
    """A summary point: a series for each quantile, ``_sum`` and ``_count``."""
    point = SummaryPoint.FromString(raw)
    time_ms = draft.time_ms(point.time_unix_nano // NS_PER_MS)
    attributes, quantiles = tuple(point.attributes), tuple(item.quantile for item in point.quantile_values)

    def label_sets() -> list[dict[str, str]]:
        own = parse_attributes(attributes)
        sets = [context.labels(own, quantile=number_text(quantile)) for quantile in quantiles]
        return [*sets, context.labels(own, "_sum"), context.labels(own, "_count")]

    ids = draft.identify(context.known, time_ms, (attributes, quantiles), label_sets)
    if point.flags & NO_RECORDED_VALUE:
        draft.samples.add(ids, time_ms, (STALE,) * (len(ids) // _PAIR))
    else:
        draft.samples.add(ids, time_ms, [*(item.value for item in point.quantile_values), point.sum, float(point.count)])
