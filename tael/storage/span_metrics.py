"""Counted spans as the series that Tempo's metrics generator would produce; pure.

    traces_spanmetrics_calls_total                    service, span_name, span_kind, status_code
    traces_spanmetrics_latency_bucket _sum _count     the same, and le
    traces_service_graph_request_total                client, server, connection_type
    traces_service_graph_request_failed_total         the same
    traces_service_graph_request_server_seconds_bucket _sum _count, …_client_seconds_…

Counters never fall within a range. A series begins with a zero before its first count and ends ACTIVE_MS after its last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tael.errors import TooLarge
from tael.model.histogram import offsets_of
from tael.model.series import METRIC_NAME, TOO_MANY_SAMPLES, Bools, Floats, Labels, Longs, Samples, labels_of
from tael.model.span_counts import CALL_BOUNDS, EDGE_BOUNDS, Group, SpanCounts

CALLS: Final = "traces_spanmetrics_calls_total"
LATENCY: Final = "traces_spanmetrics_latency"
REQUESTS: Final = "traces_service_graph_request_total"
FAILED: Final = "traces_service_graph_request_failed_total"
SIDES: Final = {"server": "traces_service_graph_request_server_seconds", "client": "traces_service_graph_request_client_seconds"}
_PARTS: Final = ("_bucket", "_sum", "_count")
CALL_NAMES: Final = (CALLS, *(LATENCY + part for part in _PARTS))
EDGE_NAMES: Final = (REQUESTS, FAILED, *(metric + part for metric in SIDES.values() for part in _PARTS))
CALL_LABELS: Final = frozenset({METRIC_NAME, "service", "span_name", "span_kind", "status_code", "le"})
EDGE_LABELS: Final = frozenset({METRIC_NAME, "client", "server", "connection_type", "le"})

ACTIVE_MS: Final = 600_000
SLOT_MS: Final = 15_000
# A range of up to two days then has at most 2,880 slots, which bounds the samples of a series.
_COARSER: Final = ((6 * 3_600_000, SLOT_MS), (48 * 3_600_000, 60_000))
_COARSEST: Final = 300_000
_KINDS: Final = dict(enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")))
_STATUSES: Final = dict(enumerate(("UNSET", "OK", "ERROR")))

Wanted = Callable[[Labels], bool]
"""Whether a series is requested."""


def slot_ms(start_ms: int, end_ms: int) -> int:
    """How far apart the samples of a range are: 15 seconds in up to six hours, a minute in up to two days, five minutes beyond."""
    return next((slot for longest, slot in _COARSER if end_ms - start_ms <= longest), _COARSEST)


@dataclass(frozen=True, slots=True)
class _Counters:
    """Counters of groups at each slot. ``buckets`` has the shape (groups, buckets, slots), ``seconds`` and ``present`` (groups, slots)."""

    groups: Sequence[Group]
    times_ms: Longs
    buckets: Floats
    seconds: Floats
    present: Bools


def call_series(counts: SpanCounts, start_ms: int, end_ms: int, wanted: Wanted, max_samples: int) -> Samples:
    """The wanted series of calls, by labels. Raises TooLarge when they may have more than ``max_samples`` samples."""
    counters = _counters(counts, start_ms, end_ms, len(CALL_BOUNDS) + 1, max_samples)
    return samples_of(_calls(counters, wanted), counters.times_ms, start_ms)


def edge_series(counts: SpanCounts, start_ms: int, end_ms: int, wanted: Wanted, max_samples: int) -> Samples:
    """The wanted series of the service graph, by labels. Raises TooLarge when they may have more than ``max_samples`` samples."""
    counters = _counters(counts, start_ms, end_ms, len(EDGE_BOUNDS) + 1, max_samples)
    return samples_of(_edges(counters, wanted), counters.times_ms, start_ms)


def call_labels(groups: Iterable[Group]) -> Iterator[Labels]:
    """The label sets of the series of calls of these groups."""
    for group in groups:
        own = _call_labels(group)
        yield labels_of({METRIC_NAME: CALLS, **own})
        yield from (labels for labels, _ in _histogram(LATENCY, own, CALL_BOUNDS))


def edge_labels(groups: Iterable[Group]) -> Iterator[Labels]:
    """The label sets of the series of the service graph of these groups."""
    for client, server, connection, failed, side in groups:
        own = {"client": client, "server": server, "connection_type": connection}
        if side == "server":
            yield labels_of({METRIC_NAME: REQUESTS, **own})
            if failed:
                yield labels_of({METRIC_NAME: FAILED, **own})
        yield from (labels for labels, _ in _histogram(SIDES[side], own, EDGE_BOUNDS))


def _counters(counts: SpanCounts, start_ms: int, end_ms: int, buckets: int, max_samples: int) -> _Counters:
    """The running sums of the rows, by slot."""
    step = slot_ms(start_ms, end_ms)
    first, slots = start_ms // step, max(0, end_ms // step - start_ms // step) + 1
    groups = len(counts.groups)
    if groups * buckets * slots > max_samples:
        raise TooLarge(TOO_MANY_SAMPLES)
    # What was counted before the range is in its first slot, so that counters continue where those of an earlier range would stand.
    slot = np.clip(counts.until_ms // step - first, 0, slots - 1)
    place = counts.group * slots + slot
    cell = (counts.group * buckets + counts.bucket) * slots + slot
    # Several rows may fall into one cell; bincount adds up where assignment by index would keep the last.
    calls = np.bincount(cell, counts.calls, groups * buckets * slots).reshape(groups, buckets, slots)
    seconds = np.bincount(place, counts.seconds, groups * slots).reshape(groups, slots)
    times = (first + np.arange(slots, dtype=np.int64)) * step
    newest = np.full(groups * slots, -ACTIVE_MS - 1, np.int64)
    np.maximum.at(newest, place, counts.newest_ms)
    there = present(newest.reshape(groups, slots), times)
    return _Counters(counts.groups, times, np.cumsum(calls, axis=2), np.cumsum(seconds, axis=1), there)


def present(newest_ms: Longs, times_ms: Longs) -> Bools:
    """The slots in which a group has a sample: until ACTIVE_MS after its last count, and in the slot before a count.

    ``newest_ms`` is the newest end of a span counted in each slot, negative when there is none.
    """
    counted = newest_ms >= 0
    there: Bools = times_ms - np.maximum.accumulate(newest_ms, axis=1) <= ACTIVE_MS
    # The value before a first count: without it, rate and increase would miss that count, for they see only differences.
    there[:, :-1] |= counted[:, 1:]
    return there


Series = tuple[Labels, Floats, Bools]
"""Labels, the value at each slot, and at which slots there is one."""


def _calls(counters: _Counters, wanted: Wanted) -> Iterator[Series]:
    total = counters.buckets.sum(axis=1)
    for row, group in enumerate(counters.groups):
        own = _call_labels(group)
        labels = labels_of({METRIC_NAME: CALLS, **own})
        if wanted(labels):
            yield labels, total[row], counters.present[row]
        yield from _histogram_series(LATENCY, own, CALL_BOUNDS, counters, np.array([row]), wanted)


def _call_labels(group: Group) -> dict[str, str]:
    service, name, kind, status = group
    return {
        "service": service,
        "span_name": name,
        "span_kind": f"SPAN_KIND_{_KINDS.get(int(kind), kind)}",
        "status_code": f"STATUS_CODE_{_STATUSES.get(int(status), status)}",
    }


def _edges(counters: _Counters, wanted: Wanted) -> Iterator[Series]:
    rows: dict[Group, list[int]] = {}
    # Failed calls are groups of their own; requests and durations are the sum of both.
    for row, (client, server, connection, failed, side) in enumerate(counters.groups):
        rows.setdefault((client, server, connection, side), []).append(row)
        if failed and side == "server":
            labels = labels_of({METRIC_NAME: FAILED, "client": client, "server": server, "connection_type": connection})
            if wanted(labels):
                yield labels, counters.buckets[row].sum(axis=0), counters.present[row]
    for (client, server, connection, side), several in rows.items():
        at = np.array(several)
        own = {"client": client, "server": server, "connection_type": connection}
        labels = labels_of({METRIC_NAME: REQUESTS, **own})
        if side == "server" and wanted(labels):
            yield labels, counters.buckets[at].sum(axis=(0, 1)), np.any(counters.present[at], axis=0)
        yield from _histogram_series(SIDES[side], own, EDGE_BOUNDS, counters, at, wanted)


def _histogram(metric: str, own: dict[str, str], bounds: Sequence[float]) -> Iterator[tuple[Labels, int | str]]:
    """The label sets of a classic histogram, each with the position of its bucket, or ``sum`` or ``count``."""
    for bucket, bound in enumerate((*bounds, None)):
        yield labels_of({METRIC_NAME: f"{metric}_bucket", **own, "le": "+Inf" if bound is None else f"{bound:g}"}), bucket
    for part in ("sum", "count"):
        yield labels_of({METRIC_NAME: f"{metric}_{part}", **own}), part


def _histogram_series(
    metric: str, own: dict[str, str], bounds: Sequence[float], counters: _Counters, rows: Longs, wanted: Wanted
) -> Iterator[Series]:
    chosen = [(labels, which) for labels, which in _histogram(metric, own, bounds) if wanted(labels)]
    if not chosen:
        return
    cumulative = np.cumsum(counters.buckets[rows].sum(axis=0), axis=0)
    seconds: Floats = counters.seconds[rows].sum(axis=0)
    present: Bools = np.any(counters.present[rows], axis=0)
    for labels, which in chosen:
        values: Floats = seconds if which == "sum" else cumulative[-1 if which == "count" else which]
        yield labels, values, present


def samples_of(found: Iterable[Series], times_ms: Longs, start_ms: int) -> Samples:
    """The series' samples of ``start_ms < t``, by labels; series without any are left out."""
    inside = times_ms > start_ms
    kept = [(labels, values, there) for labels, values, present in found if (there := present & inside).any()]
    kept.sort(key=lambda series: series[0])
    if not kept:
        return Samples([], np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0))
    return Samples(
        [labels for labels, _, _ in kept],
        offsets_of(np.array([there.sum() for _, _, there in kept])),
        np.concatenate([times_ms[there] for _, _, there in kept]),
        np.concatenate([values[there] for _, values, there in kept]),
    )
