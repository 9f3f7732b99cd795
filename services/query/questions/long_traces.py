"""Traces with more spans than are held at once: read and sent a block at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from services.query.backend import Backend
from services.query.questions.llm import Messages, by_span, messages_of
from services.query.questions.payloads import resolve_logs, resolve_spans
from services.query.turns import Turn
from tael.errors import NotFound, Overloaded, Unavailable
from tael.model.attributes import Attributes
from tael.model.log import LogRecord
from tael.model.span import Resource, Scope, Span
from tael.otlp.llm_usage import Usage, usage_of
from tael.storage.api import Answer
from tael.storage.long_traces import BEGIN, Form, Origin, Outline, Part, Slice

T = TypeVar("T")
STEP: Final = 100
"""How many spans lie between two positions at which a trace can be cut."""
_MOST_STEPS: Final = 250
_MOST_ORIGINS: Final = 1_000
"""How many pairs of resource and scope are remembered from one block to the next."""
_SPAN_BYTES: Final = 500
"""The approximate size of a span without its texts."""


class LongTrace:
    """The first ``shown`` of a trace's ``spans``, in blocks of about ``TAEL_TRACE_BLOCK_BYTES``. Each block takes its own turn, so that
    a slow reader does not hold one.

    ``missing`` names the shards missing so far, and ``unresolved`` counts references to payloads that were not resolved.
    """

    def __init__(self, backend: Backend, tenant: str, trace_id: bytes, outline: Answer[Outline], lost: dict[str, str]) -> None:
        self.trace_id = trace_id
        self.spans = outline.value.spans
        self.shown = min(self.spans, backend.settings.max_trace_spans)
        self.missing = dict.fromkeys(outline.missing)
        self.unresolved = 0
        self.calls = outline.value.calls
        self._backend, self._tenant, self._bounds = backend, tenant, outline.value.bounds
        self._payload_bytes_left = int(backend.settings.max_inline_payload_bytes)
        self._origins: dict[int, Origin] = {}
        self._lost = lost
        self._taken, self._block_bytes, self._begun = 0, 0, False

    async def blocks(self) -> AsyncGenerator[Sequence[Span]]:
        """Blocks of spans, with payloads resolved."""
        for part in self._parts():
            async with self._turn() as turn:
                spans = await self._spans(turn, part)
            self._took(len(spans), sum(bytes_of(span) + _bytes_under(span.resource, span.scope) for span in spans))
            yield spans

    async def encoded(self, form: Form, *, inline: bool = True) -> AsyncGenerator[Slice]:
        """The blocks encoded in ``form``; payloads are resolved where ``inline``."""
        for part in self._parts():
            async with self._turn() as turn:
                block = await self._slice(turn, part, form, inline=inline)
            self._took(len(block.keys), _bytes_of_slice(block, form))
            yield block

    async def usage_and_messages(self, *, inline: bool) -> tuple[Usage, frozenset[bytes], Messages]:
        """The usage of the trace's LLM calls, the span ids of those that count, and their messages that came as log records."""
        if not self.calls:
            return Usage(), frozenset(), {}
        async with self._turn() as turn:
            return await self._usage_and_messages(turn, inline=inline)

    async def _spans(self, turn: Turn, part: Part) -> Sequence[Span]:
        spans = self._value_of(await turn.ask(self._backend.long_traces.read_spans(self._tenant, part)))
        return await self._resolved(turn, spans)

    async def _slice(self, turn: Turn, part: Part, form: Form, *, inline: bool) -> Slice:
        # Bounded: a trace with a resource for each span would otherwise be held in memory through its resources.
        if len(self._origins) > _MOST_ORIGINS:
            self._origins = {}
        found = self._value_of(await turn.ask(self._backend.long_traces.read_bytes(self._tenant, part, form, self._origins)))
        self._origins |= found.origins
        found = replace(found, origins=self._origins)
        places = [index for index, body in enumerate(found.bodies) if isinstance(body, Span)]
        if not places or not inline:
            return found
        bodies = list(found.bodies)
        resolved = await self._resolved(turn, [body for body in found.bodies if isinstance(body, Span)])
        for index, span in zip(places, resolved, strict=True):
            bodies[index] = span
        return replace(found, bodies=bodies)

    async def _usage_and_messages(self, turn: Turn, *, inline: bool) -> tuple[Usage, frozenset[bytes], Messages]:
        spans = self._value_of(await turn.ask(self._backend.long_traces.calls(self._tenant, self.trace_id)))
        messages = self._value_of(await messages_of(self._backend, turn, self._tenant, spans))
        if inline:
            originals: list[LogRecord] = [record for records in messages.values() for record in records]
            found = await resolve_logs(self._backend, turn, self._tenant, originals)
            self._missing(found.missing)
            self.unresolved += found.left
            messages = by_span(found.items)
        usage, counted = usage_of(spans)
        return usage, counted, messages

    async def _resolved(self, turn: Turn, spans: Sequence[Span]) -> Sequence[Span]:
        found = await resolve_spans(self._backend, turn, self._tenant, spans, self._payload_bytes_left)
        self._payload_bytes_left -= found.taken_bytes
        self._missing(found.missing)
        self.unresolved += found.left
        return found.items

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[Turn]:
        """Take a turn, which has the time of a query. An answer that has begun waits for one, up to a query's timeout, instead of failing
        because all are taken.
        """
        give_up = time.monotonic() + self._backend.settings.query_timeout_seconds
        async with contextlib.AsyncExitStack() as stack:
            while True:
                try:
                    allowance = self._backend.turns.allowance(self._lost)
                    turn = await stack.enter_async_context(self._backend.turns.turn("trace", self._tenant, allowance))
                    break
                # Only before the first block can the client be asked to retry; later the answer has begun.
                except Overloaded as error:
                    if not self._begun or time.monotonic() > give_up:
                        raise
                    await asyncio.sleep(error.retry_after_seconds)
            yield turn
        self._begun = True

    def _value_of(self, answer: Answer[T]) -> T:
        self._missing(answer.missing)
        return answer.value

    def _missing(self, names: Iterable[str]) -> None:
        self.missing |= dict.fromkeys(names)

    def _parts(self) -> Generator[Part]:
        """The parts of the trace; each has as many steps as should make a block, judging by the part before it."""
        at, steps, left = 0, 1, self.shown
        while at < len(self._bounds) and left > 0:
            end = self._bounds[at + steps] if at + steps < len(self._bounds) else None
            yield Part(self.trace_id, self._bounds[at] if at else BEGIN, end, left)
            at, left = at + steps, left - self._taken
            expected = STEP * self._block_bytes / max(1, self._taken)
            # At most doubled: the first spans say little about the sizes of later ones, and a block must not be many times too large.
            steps = max(1, min(_MOST_STEPS, 2 * steps, int(self._backend.settings.trace_block_bytes / max(1, expected))))

    def _took(self, spans: int, size_bytes: int) -> None:
        self._taken, self._block_bytes = spans, size_bytes


async def open_long_trace(backend: Backend, tenant: str, trace_id: bytes) -> LongTrace:
    """The trace, of which only the outline has been read. Raises NotFound, Unavailable, and what the reader raises."""
    async with backend.turns.turn("trace", tenant) as turn:
        outline = await turn.ask(backend.long_traces.outline(tenant, trace_id, backend.settings.max_trace_spans, STEP))
    if not outline.value.spans:
        if outline.missing:
            raise Unavailable(f"{', '.join(outline.missing)} did not answer")
        raise NotFound(f"trace {trace_id.hex()} was not found")
    return LongTrace(backend, tenant, trace_id, outline, turn.lost)


def _bytes_of_slice(block: Slice, form: Form) -> int:
    """The approximate size of a block in an answer; in JSON every span repeats its resource and scope."""
    under = {number: _bytes_under(block.origins[number].resource, block.origins[number].scope) for number in set(block.origin_ids)}
    origins = map(under.__getitem__, block.origin_ids) if form == "json" else under.values()
    return sum(len(body) if isinstance(body, bytes) else bytes_of(body) for body in block.bodies) + sum(origins)


def bytes_of(span: Span) -> int:
    """The approximate size of a span in an answer."""
    return _SPAN_BYTES + _texts(span.attributes) + sum(_texts(event.attributes) for event in span.events)


def _bytes_under(resource: Resource, scope: Scope) -> int:
    return _texts(resource.attributes) + _texts(scope.attributes)


def _texts(attributes: Attributes) -> int:
    return sum(len(value) for value in attributes.values() if isinstance(value, str | bytes))
