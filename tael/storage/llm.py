"""The port for LLM calls in columns, and its composition over shards."""

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

        A span that names no session, user or agent takes it from its nearest ancestor that does. Raises TooLarge when the traces of these
        spans have more than ``max_rows`` spans.
        """
        ...

    async def has_calls(self, tenant: str, time_range: TimeRange) -> Answer[bool]:
        """Whether ``calls`` would find any."""
        ...


class MergedLlm(Merged[LlmReader]):
    """See LlmReader."""

    async def calls(self, tenant: str, time_range: TimeRange, max_rows: int) -> Answer[LlmCalls]:
        """See LlmReader."""
        gathered = await self._gather.ask(lambda reader: reader.calls(tenant, time_range, max_rows))
        if sum(map(len, gathered.values)) > max_rows:
            raise too_many(max_rows)
        return Answer(joined(gathered.values), gathered.missing)

    async def has_calls(self, tenant: str, time_range: TimeRange) -> Answer[bool]:
        """See LlmReader."""
        gathered = await self._gather.ask(lambda reader: reader.has_calls(tenant, time_range))
        return Answer(any(gathered.values), gathered.missing)


def too_many(max_rows: int) -> TooLarge:
    """The error for more than ``max_rows`` spans in one query."""
    return TooLarge(f"more than {max_rows:,} spans in traces with LLM calls", where="last", accepted="a shorter range")
