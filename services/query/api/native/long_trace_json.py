"""A long trace as JSON, block by block, with the same fields as ``trace_json``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, Final

from services.query.api.native.partial import partial_json
from services.query.api.native.span_json import resource_json, scope_json
from services.query.api.native.trace_json import llm_json, span_with_messages_json
from services.query.questions.llm import Messages
from services.query.questions.long_traces import LongTrace
from tael.model.json_text import to_bytes
from tael.storage.long_traces import Origin, Slice

JSON: Final = "application/json; charset=utf-8"


async def long_trace_json(trace: LongTrace, *, inline: bool) -> AsyncGenerator[bytes]:
    """The body in pieces. Missing shards are known only at the end, so ``partial`` comes last."""
    usage, counted, messages = await trace.usage_and_messages(inline=inline)
    head: dict[str, Any] = {"trace_id": trace.trace_id.hex(), "span_count": trace.spans}
    if trace.shown < trace.spans:
        head["truncated"] = f"only the first {trace.shown} spans are here (TAEL_MAX_TRACE_SPANS)"
    if trace.calls:
        head["llm"] = llm_json(usage)
    yield to_bytes(head)[:-1] + b',"spans":['
    comma = b""
    async with contextlib.aclosing(trace.encoded("json", inline=inline)) as blocks:
        async for block in blocks:
            if block.keys:
                yield comma + await asyncio.to_thread(_block_json, block, messages, counted)
                comma = b","
    yield b"]," + to_bytes(partial_json(list(trace.missing), trace.unresolved))[1:]


def _block_json(block: Slice, messages: Messages, counted: frozenset[bytes]) -> bytes:
    ends = {number: _end(block.origins[number]) for number in set(block.origin_ids)}
    return b",".join(
        body + ends[number] if isinstance(body, bytes) else to_bytes(span_with_messages_json(body, messages, counted))
        for body, number in zip(block.bodies, block.origin_ids, strict=True)
    )


def _end(origin: Origin) -> bytes:
    """The end of the JSON of a span with this resource and scope."""
    return b"," + to_bytes({"resource": resource_json(origin.resource), "scope": scope_json(origin.scope)})[1:]
