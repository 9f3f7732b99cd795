"""The ports for spans, long traces, span counts and logs over several readers, whose answers are merged."""

from __future__ import annotations

from collections.abc import Collection

from tael.logql.records import Entry
from tael.model.log import LogRecord
from tael.model.series import Selection
from tael.model.span import Span
from tael.model.span_counts import SpanCounts, joined
from tael.model.streams import LogStream
from tael.model.time import TimeRange
from tael.storage.api import (
    Answer,
    LogCount,
    LogCounts,
    LogQuery,
    LogReader,
    LogValues,
    ServiceStats,
    SpanCountReader,
    SpanQuery,
    SpanReader,
)
from tael.storage.gather import Merged
from tael.storage.long_traces import Form, LongTraceReader, Outline, Part, Slice, in_order, merge_outlines, merge_slices
from tael.storage.merge import add_services, add_streams, merge_logs, merge_newest, merge_trace, once_each


class MergedSpans(Merged[SpanReader]):
    """See SpanReader."""

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        """See SpanReader."""
        gathered = await self._gather.ask(lambda reader: reader.find_spans(tenant, query))
        return Answer(merge_newest(gathered.values, query.limit), gathered.missing)

    async def get_trace(
        self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None, most: int | None = None
    ) -> Answer[list[Span]]:
        """See SpanReader."""
        gathered = await self._gather.ask(lambda reader: reader.get_trace(tenant, trace_id, time_range, most))
        return Answer(merge_trace(gathered.values), gathered.missing)

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """See SpanReader."""
        gathered = await self._gather.ask(lambda reader: reader.list_services(tenant, time_range))
        return Answer(add_services(gathered.values), gathered.missing)


class MergedLongTraces(Merged[LongTraceReader]):
    """See LongTraceReader."""

    async def outline(self, tenant: str, trace_id: bytes, most: int, step: int) -> Answer[Outline]:
        """See LongTraceReader."""
        gathered = await self._gather.ask(lambda reader: reader.outline(tenant, trace_id, most, step))
        return Answer(merge_outlines(gathered.values), gathered.missing)

    async def read_spans(self, tenant: str, part: Part) -> Answer[list[Span]]:
        """See LongTraceReader."""
        gathered = await self._gather.ask(lambda reader: reader.read_spans(tenant, part))
        return Answer(in_order(span for spans in gathered.values for span in spans)[: part.limit], gathered.missing)

    async def read_bytes(self, tenant: str, part: Part, form: Form, known: Collection[int] = ()) -> Answer[Slice]:
        """See LongTraceReader."""
        gathered = await self._gather.ask(lambda reader: reader.read_bytes(tenant, part, form, known))
        return Answer(merge_slices([one for one in gathered.values if one.keys], part.limit), gathered.missing)

    async def calls(self, tenant: str, trace_id: bytes) -> Answer[list[Span]]:
        """See LongTraceReader."""
        gathered = await self._gather.ask(lambda reader: reader.calls(tenant, trace_id))
        return Answer(once_each(span for spans in gathered.values for span in spans), gathered.missing)


class MergedSpanCounts(Merged[SpanCountReader]):
    """See SpanCountReader."""

    async def count_calls(self, tenant: str, start_ms: int, end_ms: int, slot_ms: int, max_rows: int) -> Answer[SpanCounts]:
        """See SpanCountReader."""
        gathered = await self._gather.ask(lambda reader: reader.count_calls(tenant, start_ms, end_ms, slot_ms, max_rows))
        return Answer(joined(gathered.values), gathered.missing)

    async def span_kinds(self, tenant: str, start_ms: int, end_ms: int) -> Answer[set[int]]:
        """See SpanCountReader."""
        gathered = await self._gather.ask(lambda reader: reader.span_kinds(tenant, start_ms, end_ms))
        return Answer(set().union(*gathered.values), gathered.missing)

    async def count_edges(self, tenant: str, start_ms: int, end_ms: int, slot_ms: int, max_rows: int) -> Answer[SpanCounts]:
        """See SpanCountReader."""
        gathered = await self._gather.ask(lambda reader: reader.count_edges(tenant, start_ms, end_ms, slot_ms, max_rows))
        return Answer(joined(gathered.values), gathered.missing)


class MergedLogs(Merged[LogReader]):
    """See LogReader."""

    async def find_logs(self, tenant: str, query: LogQuery) -> Answer[list[LogRecord]]:
        """See LogReader."""
        gathered = await self._gather.ask(lambda reader: reader.find_logs(tenant, query))
        return Answer(merge_logs(gathered.values, query), gathered.missing)

    async def read_lines(self, tenant: str, query: LogQuery, names: Collection[str] | None = None) -> Answer[list[Entry]]:
        """See LogReader."""
        gathered = await self._gather.ask(lambda reader: reader.read_lines(tenant, query, names))
        return Answer(merge_logs(gathered.values, query), gathered.missing)

    async def count_logs(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogCount]]:
        """See LogReader."""
        gathered = await self._gather.ask(lambda reader: reader.count_logs(tenant, counts, max_rows))
        return Answer([row for rows in gathered.values for row in rows], gathered.missing)

    async def read_values(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogValues]]:
        """See LogReader."""
        gathered = await self._gather.ask(lambda reader: reader.read_values(tenant, counts, max_rows))
        return Answer([row for rows in gathered.values for row in rows], gathered.missing)

    async def list_streams(self, tenant: str, selection: Selection, limit: int) -> Answer[list[LogStream]]:
        """See LogReader."""
        gathered = await self._gather.ask(lambda reader: reader.list_streams(tenant, selection, limit))
        return Answer(add_streams(gathered.values, limit), gathered.missing)
