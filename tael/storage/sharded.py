"""A SpanReader over several shards: asks all at once, merges what comes in time, and names what did not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tael.errors import Retryable, Unavailable
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.storage.api import Answer, ServiceStats, Shard, SpanQuery, SpanReader
from tael.storage.merge import add_services, merge_newest, merge_trace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Gathered(Generic[T]):
    """The values of the shards that answered, and the names of those that did not."""

    values: list[T]
    missing: tuple[str, ...]


class ShardedSpans:
    """See SpanReader. A shard that fails, or has not answered after ``deadline_seconds``, is missing from the answer.

    Raises Unavailable when no shard answered, and Rejected as soon as one shard rejects the query.
    """

    def __init__(self, shards: Sequence[Shard], *, deadline_seconds: float = 10.0) -> None:
        self._shards = tuple(shards)
        self._deadline_seconds = deadline_seconds

    def use(self, shards: Sequence[Shard]) -> None:
        """Ask these shards from the next question on: the shard map has grown."""
        self._shards = tuple(shards)

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        """See SpanReader."""
        found = await self._ask_all(lambda shard: shard.find_spans(tenant, query))
        return Answer(merge_newest(found.values, query.limit), found.missing)

    async def get_trace(self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None) -> Answer[list[Span]]:
        """See SpanReader."""
        found = await self._ask_all(lambda shard: shard.get_trace(tenant, trace_id, time_range))
        return Answer(merge_trace(found.values), found.missing)

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """See SpanReader."""
        found = await self._ask_all(lambda shard: shard.list_services(tenant, time_range))
        return Answer(add_services(found.values), found.missing)

    async def _ask_all(self, ask: Callable[[SpanReader], Awaitable[Answer[T]]]) -> _Gathered[T]:
        shards = self._shards
        if not shards:
            raise Unavailable("no shard is known yet")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(shard, ask), name=f"ask {shard.name}") for shard in shards]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        answers = [task.result() for task in tasks]
        values = [answer.value for answer in answers if isinstance(answer, Answer)]
        if not values:
            reasons = "; ".join(f"{shard.name}: {answer}" for shard, answer in zip(shards, answers, strict=True))
            raise Unavailable(f"no shard answered ({reasons})")
        missing = (answer.missing if isinstance(answer, Answer) else (shard.name,) for shard, answer in zip(shards, answers, strict=True))
        return _Gathered(values, tuple(name for names in missing for name in names))

    async def _ask(self, shard: Shard, ask: Callable[[SpanReader], Awaitable[Answer[T]]]) -> Answer[T] | str:
        """The shard's answer, or why there is none."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await ask(shard.spans)
        except TimeoutError:
            return f"no answer within {self._deadline_seconds} s"
        except Retryable as error:
            return error.reason
