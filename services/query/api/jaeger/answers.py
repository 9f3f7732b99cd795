"""The queries behind Jaeger's APIs, for both transports: names, traces and dependencies, with Jaeger's names."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from services.query.api.jaeger import encode
from services.query.api.jaeger.parameters import Search
from services.query.backend import Backend
from services.query.questions.long_traces import LongTrace, open_long_trace
from services.query.questions.spans import WHOLE_SPANS, get_trace
from services.query.turns import Allowance
from tael.errors import NotFound
from tael.model.span import UNKNOWN_SERVICE, Span
from tael.model.time import ALL_TIME, TimeRange
from tael.runtime.tasks import together
from tael.storage.api import Answer, TraceTooLong
from tael.storage.long_traces import BEGIN, Part
from tael.storage.merge import oldest_first

T = TypeVar("T")
_AT_ONCE = 8
_KIND_NUMBERS = {name: number for number, name in encode.KINDS.items()}


class JaegerAnswers:
    """The queries of Jaeger's APIs. Each raises what its reader raises."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def services(self, tenant: str) -> Answer[list[str]]:
        """Names of services, sorted."""
        answer = await self._ask("jaeger services", tenant, partial(self._backend.topology.list_services, tenant, ALL_TIME))
        return Answer(sorted(map(_shown, answer.value)), answer.missing)

    async def operations(self, tenant: str, service: str, kind: str) -> Answer[list[tuple[str, str]]]:
        """Names and kinds of a service's spans, sorted; of all kinds where ``kind`` is empty."""
        stored = UNKNOWN_SERVICE if service == encode.NO_SERVICE else service
        answer = await self._ask("jaeger operations", tenant, partial(self._backend.topology.list_operations, tenant, stored, ALL_TIME))
        wanted = _KIND_NUMBERS.get(kind.lower())
        found = sorted((name or encode.NO_NAME, number) for name, number in answer.value if not kind or number == wanted)
        return Answer([(name, encode.KINDS.get(number, "")) for name, number in found], answer.missing)

    async def dependencies(self, tenant: str, time_range: TimeRange) -> Answer[list[tuple[str, str, int]]]:
        """Counts of calls between services, including a service's calls to itself."""
        answer = await self._ask("jaeger dependencies", tenant, partial(self._backend.topology.count_calls, tenant, time_range))
        return Answer([(_shown(parent), _shown(child), calls) for (parent, child), calls in sorted(answer.value.items())], answer.missing)

    async def search(self, tenant: str, search: Search) -> AsyncGenerator[Answer[list[list[Span]]]]:
        """Traces, newest first, a few at a time, each batch with the shards missing so far; one empty batch where none match. Long traces
        are cut.

        Each batch takes its own turn, so that a slow client does not hold one; for all of them together it has the time of one query.
        Raises Overloaded and TimeoutError where that is not enough, perhaps after some batches.
        """
        allowance = self._backend.turns.allowance()
        trace_ids = list(search.trace_ids)
        missing: tuple[str, ...] = ()
        if not trace_ids:
            find = partial(self._backend.spansets.find_traces, tenant, search.query, search.time_range, search.limit, 1)
            found = await self._ask("jaeger search", tenant, find, allowance)
            trace_ids, missing = [trace.trace_id for trace in found.value], found.missing
        if not trace_ids:
            yield Answer([], missing)
        for start in range(0, len(trace_ids), _AT_ONCE):
            read = partial(self._beginnings, tenant, trace_ids[start : start + _AT_ONCE])
            answers = await self._ask("jaeger search", tenant, read, allowance)
            missing = tuple(dict.fromkeys((*missing, *(name for answer in answers for name in answer.missing))))
            yield Answer([sorted(answer.value, key=oldest_first) for answer in answers if answer.value], missing)

    async def trace(self, tenant: str, trace_id: bytes, unknown: str, time_range: TimeRange | None = None) -> Answer[list[Span]]:
        """A trace's spans by start. Raises NotFound with the text ``unknown``, and TraceTooLong."""
        try:
            async with get_trace(self._backend, tenant, trace_id, time_range) as answer:
                return Answer(sorted(answer.value, key=oldest_first), answer.missing)
        except NotFound:
            raise NotFound(unknown) from None

    async def blocks(
        self, tenant: str, trace_id: bytes, unknown: str, time_range: TimeRange | None = None
    ) -> AsyncGenerator[Answer[Sequence[Span]]]:
        """A trace of any length block by block, each with what is missing so far. Raises NotFound."""
        try:
            answer = await self.trace(tenant, trace_id, unknown, time_range)
            yield Answer(answer.value, answer.missing)
        except TraceTooLong:
            trace = await self.long_trace(tenant, trace_id)
            async with contextlib.aclosing(trace.blocks()) as blocks:
                async for spans in blocks:
                    yield Answer(spans, (*trace.missing, *left_out(trace)))

    async def long_trace(self, tenant: str, trace_id: bytes) -> LongTrace:
        """A trace that is too long for ``trace``, to be read in blocks."""
        return await open_long_trace(self._backend, tenant, trace_id)

    async def _beginnings(self, tenant: str, trace_ids: Sequence[bytes]) -> list[Answer[list[Span]]]:
        return await together((self._beginning(tenant, trace_id) for trace_id in trace_ids), name="read a trace")

    async def _beginning(self, tenant: str, trace_id: bytes) -> Answer[list[Span]]:
        """A trace as a search returns it: of a long one only the first spans, with a note in ``missing``."""
        try:
            return await self._backend.spans.get_trace(tenant, trace_id, most=WHOLE_SPANS)
        except TraceTooLong:
            first = await self._backend.long_traces.read_spans(tenant, Part(trace_id, BEGIN, None, WHOLE_SPANS))
            return Answer(first.value, (*first.missing, f"spans after the first {WHOLE_SPANS} of trace {trace_id.hex()}"))

    async def _ask(self, route: str, tenant: str, ask: Callable[[], Awaitable[T]], allowance: Allowance | None = None) -> T:
        async with self._backend.turns.turn(route, tenant, allowance) as turn:
            return await turn.ask(ask())


def left_out(trace: LongTrace) -> list[str]:
    """A note for ``missing`` about spans left out because of ``TAEL_MAX_TRACE_SPANS``."""
    return [f"spans after the first {trace.shown} of {trace.spans}"] if trace.shown < trace.spans else []


def _shown(service: str) -> str:
    return encode.NO_SERVICE if service == UNKNOWN_SERVICE else service
