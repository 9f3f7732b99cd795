"""The port of LLM calls in columns; and its composition over shards."""

from __future__ import annotations

from typing import Protocol

from tael.errors import TooLarge
from tael.model.llm_calls import LlmCalls, joined
from tael.model.time import TimeRange
from tael.storage.api import Answer
from tael.storage.gather import Merged


class LlmReader(Protocol):
    """Reads one shard, or several composed as one; a trace is on one shard. Raises as SpanReader does."""

    async def calls(self, tenant: str, time_range: TimeRange, max_rows: int) -> Answer[LlmCalls]:
        """Every span of an LLM call, tool or agent that started in the range, in no order.

        A session, user or agent that a span does not name is that of the nearest span around it which does. Raises TooLarge where the traces of
        these spans have more than ``max_rows`` spans.
        """
        ...

    async def has_calls(self, tenant: str, time_range: TimeRange) -> Answer[bool]:
        """Whether ``calls`` would find any."""
        ...


class MergedLlm(Merged[LlmReader]):
    """See LlmReader."""

    async def calls(self, tenant: str, time_range: TimeRange, max_rows: int) -> Answer[LlmCalls]:
        """See LlmReader."""
        found = await self._gather.ask(lambda reader: reader.calls(tenant, time_range, max_rows))
        if sum(map(len, found.values)) > max_rows:
            raise too_many(max_rows)
        return Answer(joined(found.values), found.missing)

    async def has_calls(self, tenant: str, time_range: TimeRange) -> Answer[bool]:
        """See LlmReader."""
        found = await self._gather.ask(lambda reader: reader.has_calls(tenant, time_range))
        return Answer(any(found.values), found.missing)


def too_many(max_rows: int) -> TooLarge:
    """More spans than one question looks at."""
    return TooLarge(f"more than {max_rows:,} spans in traces with LLM calls", where="last", accepted="a shorter range")
