"""Long traces in Jaeger's encodings, block by block. Processes and missing shards come last, because they are known only at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from services.query.api.jaeger import encode
from services.query.api.stream import encoded_groups
from services.query.questions.long_traces import LongTrace
from tael.model.json_text import to_bytes
from tael.otlp.encode import encode_span


async def ui_json(trace: LongTrace) -> AsyncGenerator[bytes]:
    """A trace in the JSON of Jaeger's UI."""
    processes = encode.Processes()
    yield b'{"data":[{"traceID":' + to_bytes(trace.trace_id.hex()) + b',"spans":['
    comma = b""
    async with contextlib.aclosing(trace.encoded("jaeger")) as blocks:
        async for block in blocks:
            if block.keys:
                yield comma + await asyncio.to_thread(processes.encode_slice, block)
                comma = b","
    yield b"]," + to_bytes({"processes": processes.bodies, "warnings": _cut(trace) or None})[1:]
    tail: dict[str, Any] = {"total": 0, "limit": 0, "offset": 0, "errors": None}
    yield b"]," + to_bytes(tail | _warnings(trace))[1:]


async def otlp_json(trace: LongTrace) -> AsyncGenerator[bytes]:
    """A trace in OTLP's JSON; a resource may be repeated in every block."""
    yield b'{"result":{"resourceSpans":['
    async for piece in encoded_groups(trace, "otlp_json", lambda span: encode.span_dict(encode_span(span))):
        yield piece
    warnings = _warnings(trace)
    yield b"]}," + to_bytes(warnings)[1:] if warnings else b"]}}"


def missing_text(missing: Iterable[str]) -> str:
    """The warning of an answer without these shards or spans."""
    return f"this answer is partial; missing: {', '.join(missing)}"


def warnings_of(trace: LongTrace) -> list[str]:
    """The warnings about the part that was read so far."""
    return [*([missing_text(trace.missing)] if trace.missing else []), *_cut(trace)]


def _cut(trace: LongTrace) -> list[str]:
    if trace.shown == trace.spans:
        return []
    return [f"the trace has {trace.spans} spans, of which these are the first {trace.shown} (TAEL_MAX_TRACE_SPANS)"]


def _warnings(trace: LongTrace) -> dict[str, list[str]]:
    warnings = warnings_of(trace)
    return {"warnings": warnings} if warnings else {}
