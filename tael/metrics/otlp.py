"""Translates an OTLP metrics request to series and samples (docs/formats.md, "Metrics").

The request is parsed down to its points, which stay encoded. Points of gauges and sums whose bytes are known except for time and value,
which is nearly all of them, are decoded together (tael.metrics.numbers); the others are decoded one by one. If the bulk turns out to be
irregular, the whole request is translated again, point by point.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from google.protobuf.message import DecodeError

from tael.errors import Rejected
from tael.metrics.cache import SeriesCache
from tael.metrics.context import Context, Contexts, Target
from tael.metrics.identity import HOUR_MS
from tael.metrics.names import Names
from tael.metrics.numbers import Heads, head_bytes, time_ms_of
from tael.metrics.points import add_exponential, add_histogram, add_number, add_summary
from tael.metrics.translation import ANY, Accepts, AdmitSeries, Columns, Draft, Refused, Translation
from tael.model.lanes import counted_from_ms
from tael.pb.metrics_request_pb2 import Metric, Request, ResourceMetrics

TARGET_INFO_EVERY_MS = 150_000
"""Half of the five minutes for which PromQL looks back for a sample (services/query/promql, ``lookback_ms``)."""

_ADD: dict[str, Callable[[bytes, Context, Draft], int]] = {
    "gauge": add_number,
    "sum": add_number,
    "histogram": add_histogram,
    "exponential_histogram": add_exponential,
    "summary": add_summary,
}


class OtlpTranslator:
    """Translates requests. ``promoted`` are resource attributes that become labels of every series."""

    def __init__(self, cache: SeriesCache, names: Names, promoted: tuple[str, ...] = ()) -> None:
        self._contexts = Contexts(cache, names, promoted)

    def translate(self, tenant: str, request: bytes, now_ms: int, admit_series: AdmitSeries, accepts: Accepts = ANY) -> Translation:
        """One request's translation. Raises Rejected when it is not an ExportMetricsServiceRequest."""
        try:
            message = Request.FromString(request)
            walk = _Walk(self._contexts, Draft(tenant, now_ms, admit_series, accepts), bulk=True)
            if not walk.run(message):
                # Series announced in the first pass are counted only once: the limiter already knows them.
                walk = _Walk(self._contexts, Draft(tenant, now_ms, admit_series, accepts), bulk=False)
                walk.run(message)
        except DecodeError as error:
            raise Rejected("the body is not a valid ExportMetricsServiceRequest", where="body", accepted="OTLP protobuf") from error
        return walk.draft.finish()


@dataclass(slots=True)
class _Seen:
    """A resource of the request: the times of its points decoded one by one, and the slices of the heads that hold the others."""

    target: Target
    times_ms: set[int] = field(default_factory=set)
    heads: dict[tuple[int, bool], slice] = field(default_factory=dict)


class _Walk:
    """One pass over a request."""

    def __init__(self, contexts: Contexts, draft: Draft, *, bulk: bool) -> None:
        self.draft = draft
        self._contexts = contexts
        self._bulk = bulk
        self._hour = -1
        self._heads = {(size, delta): Heads() for size in (18, 27) for delta in (False, True)}
        self._times_ms = set[int]()

    def run(self, request: Request) -> bool:
        """Translate the request; False when points that looked regular are not."""
        seen = [self._resource(resource) for resource in request.resource_metrics]
        chunks: dict[tuple[int, bool], Columns] = {}
        for (size, delta), heads in self._heads.items():
            if heads.heads:
                chunk = heads.decode(size, self._hour)
                if chunk is None or not self.draft.accepts.holds(chunk.time_ms) or (delta and not self._may_be_added(chunk)):
                    return False
                chunks[size, delta] = chunk
                (self.draft.deltas if delta else self.draft.samples).chunks.append(chunk)
        for resource in seen:
            times_ms = resource.times_ms.union(*(np.unique(chunks[kind].time_ms[rows]).tolist() for kind, rows in resource.heads.items()))
            self._target_info(resource.target, times_ms)
        return True

    def _may_be_added(self, increments: Columns) -> bool:
        """Whether the increments count in the hour for which their series are known (tael.metrics.points), and are all finite."""
        now_ms = self.draft.now_ms
        return counted_from_ms(now_ms) <= self._hour <= now_ms and bool(np.isfinite(increments.value).all())

    def _resource(self, resource: ResourceMetrics) -> _Seen:
        group, target = self._contexts.target(self.draft.tenant, resource)
        self._times_ms, before = set(), {kind: len(heads.heads) for kind, heads in self._heads.items()}
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                self._metric(metric, self._contexts.context(group, target, scope, metric))
        heads = {kind: slice(before[kind], len(heads.heads)) for kind, heads in self._heads.items() if len(heads.heads) > before[kind]}
        return _Seen(target, self._times_ms, heads)

    def _metric(self, metric: Metric, context: Context) -> None:
        points = list(getattr(metric, context.member).data_points) if context.member else []
        first = self.draft.items
        self.draft.items += len(points)
        self.draft.accepts.require_few(self.draft.items)
        if context.problem:
            for position in range(first, self.draft.items):
                self.draft.refuse(position, context.problem, f"point {position} of {metric.name[:60]!r}")
            return
        if not points:
            return
        self.draft.describe(context.known, context.name, context.kind, context.unit, metric.description)
        missed = self._in_bulk(points, first, context) if self._bulk and context.member in ("gauge", "sum") else enumerate(points, first)
        for position, raw in missed:
            self._one(position, raw, context)

    def _in_bulk(self, points: list[bytes], first: int, context: Context) -> Iterable[tuple[int, bytes]]:
        """Collect the points that are known by their tails; return the others with their positions."""
        time_ms = time_ms_of(points[0])
        # One hour for the whole request, as a sender's points are all of about the same time. If they are not, decode()
        # notices, and all points are decoded one by one.
        if self._hour < 0:
            self._hour = time_ms - time_ms % HOUR_MS
        size = head_bytes(points[0])
        known = context.known.at(self._hour)
        # A point in another layout is split in the wrong place, so its tail is not known; if it is by chance, decoding the head notices.
        found = [ids for ids in map(known.get, [point[size:] for point in points]) if ids is not None]
        regular = self._heads[size, context.delta]
        regular.ids += found
        if len(found) == len(points):
            regular.heads += [point[:size] for point in points]
            return ()
        regular.heads += [point[:size] for point in points if point[size:] in known]
        return ((position, point) for position, point in enumerate(points, first) if point[size:] not in known)

    def _one(self, position: int, raw: bytes, context: Context) -> None:
        try:
            self._times_ms.add(_ADD[context.member](raw, context, self.draft))
        except (Refused, ValueError) as error:
            self.draft.refuse(position, str(error), f"point {position} of {context.name[:60]!r}")

    def _target_info(self, target: Target, times_ms: Collection[int]) -> None:
        """Add samples of ``target_info``, close enough that a join finds one for every other sample (OTLP to Prometheus, "Resource
        Attributes").
        """
        if not target.info or not times_ms:
            return
        try:
            for time_ms in spread(times_ms):
                ids = self.draft.identify(target.known, time_ms, b"", lambda: [target.info])
                self.draft.samples.add(ids, time_ms, (1.0,))
        except Refused:
            return
        self.draft.describe(target.known, "target_info", "gauge", "", "Target metadata")


def spread(times_ms: Collection[int]) -> list[int]:
    """A few of the times, including the first and the last, with gaps of at most ``TARGET_INFO_EVERY_MS`` where there are times
    in between.
    """
    ordered = sorted(times_ms)
    chosen = ordered[:1]
    for time_ms, following in pairwise(ordered):
        if following - chosen[-1] > TARGET_INFO_EVERY_MS and time_ms != chosen[-1]:
            chosen.append(time_ms)
    return chosen if chosen[-1] == ordered[-1] else [*chosen, ordered[-1]]
