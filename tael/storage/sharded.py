"""A SpanReader over several shards."""

from __future__ import annotations

from tael.model.span import Span
from tael.model.time import TimeRange
from tael.storage.api import Answer, ServiceStats, SpanQuery, SpanReader
from tael.storage.merge import add_services, merge_newest, merge_trace
from tael.storage.scatter import Scatter


class ShardedSpans(Scatter[SpanReader]):
    """See SpanReader, and Scatter for shards that do not answer."""

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        """See SpanReader."""
        found = await self.ask_all(lambda shard: shard.find_spans(tenant, query))
        return Answer(merge_newest(found.values, query.limit), found.missing)

    async def get_trace(self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None) -> Answer[list[Span]]:
        """See SpanReader."""
        found = await self.ask_all(lambda shard: shard.get_trace(tenant, trace_id, time_range))
        return Answer(merge_trace(found.values), found.missing)

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """See SpanReader."""
        found = await self.ask_all(lambda shard: shard.list_services(tenant, time_range))
        return Answer(add_services(found.values), found.missing)
