"""Merging the answers of several shards or tiers into one, pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from tael.logql.records import Entry
from tael.model.log import LogRecord
from tael.model.series import Labels
from tael.model.span import Span
from tael.model.streams import LogStream
from tael.model.time import signed_ns
from tael.storage.api import LogQuery, ServiceStats

L = TypeVar("L", LogRecord, Entry)


def newest_first(span: Span) -> tuple[int, bytes, bytes]:
    """The sort key of ``find_spans``: start descending, then trace id, then span id."""
    return (-signed_ns(span.start_ns), span.trace_id, span.span_id)


def oldest_first(span: Span) -> tuple[int, bytes]:
    """The sort key of ``get_trace``: start, then span id."""
    return (span.start_ns, span.span_id)


def once_each(spans: Iterable[Span]) -> list[Span]:
    """One span for each (trace id, span id, start). A span that was sent more than once, at its start and at its end or in two requests, is
    represented by its most complete copy.
    """
    kept: dict[tuple[bytes, bytes, int], Span] = {}
    for span in spans:
        # A better copy takes the place of the first one in the dictionary, so the order of first appearance stays.
        other = kept.setdefault(_identity(span), span)
        if other is not span and _completeness(span) > _completeness(other):
            kept[_identity(span)] = span
    return list(kept.values())


def most_complete(spans: Iterable[Span], matching: Iterable[Span]) -> list[Span]:
    """Those of ``spans``, once each, whose most complete copy is among ``matching``: a less complete copy may match although the span does
    not.
    """
    matches = {_identity(span): span for span in once_each(matching)}
    best = ((span, matches.get(_identity(span))) for span in once_each(spans))
    return [match for span, match in best if match is not None and _completeness(match) >= _completeness(span)]


def _identity(span: Span) -> tuple[bytes, bytes, int]:
    return span.trace_id, span.span_id, span.start_ns


def _completeness(span: Span) -> tuple[bool, int, int, int]:
    """The larger, the more complete: first spans that have ended, then those with more attributes, events and links, then those that end
    later.
    """
    details = len(span.attributes) + len(span.events) + len(span.links)
    return (span.end_ns >= span.start_ns, details, span.end_ns, span.status_code)


def merge_newest(parts: Iterable[Sequence[Span]], limit: int) -> list[Span]:
    """The first ``limit`` spans of lists that are each newest first."""
    # heapq.merge is lazy: only as many spans are compared as the page holds.
    return list(islice(heapq.merge(*parts, key=newest_first), limit))


def newest_log_first(record: LogRecord | Entry) -> tuple[int, int]:
    """The sort key of ``find_logs``, newest first: timestamp descending, then serial."""
    return (-signed_ns(record.timestamp_ns), record.serial)


def oldest_log_first(record: LogRecord | Entry) -> tuple[int, int]:
    """The same for the oldest first: timestamp, then serial."""
    return (signed_ns(record.timestamp_ns), record.serial)


def log_order(query: LogQuery) -> Callable[[LogRecord | Entry], tuple[int, int]]:
    """The sort key for the order of ``query``."""
    return oldest_log_first if query.oldest_first else newest_log_first


def merge_logs(parts: Iterable[Sequence[L]], query: LogQuery) -> list[L]:
    """The first ``query.limit`` records or lines of lists that are each in the query's order."""
    return list(islice(heapq.merge(*parts, key=log_order(query)), query.limit))


def add_streams(parts: Iterable[Sequence[LogStream]], limit: int) -> list[LogStream]:
    """The streams by labels, each once with its sums over all parts; at most ``limit`` unless that is 0."""
    totals: dict[Labels, LogStream] = {}
    for stream in (item for part in parts for item in part):
        known = totals.get(stream.labels, LogStream(stream.labels, 0, 0))
        totals[stream.labels] = LogStream(stream.labels, known.records + stream.records, known.bytes + stream.bytes)
    found = [totals[labels] for labels in sorted(totals)]
    return found[:limit] if limit else found


def merge_trace(parts: Iterable[Sequence[Span]]) -> list[Span]:
    """One trace made of its parts, in the order of ``get_trace``."""
    return sorted(once_each(span for part in parts for span in part), key=oldest_first)


def add_services(parts: Iterable[Sequence[ServiceStats]]) -> list[ServiceStats]:
    """The sums of each service over all parts, by name."""
    totals: dict[str, ServiceStats] = {}
    for stats in (item for part in parts for item in part):
        known = totals.get(stats.name, ServiceStats(stats.name, 0, 0, 0, 0))
        totals[stats.name] = ServiceStats(
            stats.name,
            known.span_count + stats.span_count,
            known.trace_count + stats.trace_count,
            known.error_count + stats.error_count,
            known.duration_sum_ns + stats.duration_sum_ns,
        )
    return [totals[name] for name in sorted(totals)]
