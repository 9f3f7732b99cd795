"""Long traces in Tempo's encodings, block by block.

A resource may be repeated in every block. Protobuf parses concatenated messages as one: repeated fields are appended, single messages
merged. So clients read a trace in several pieces as one trace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict

from services.query.api.stream import elements, encoded_groups
from services.query.api.tempo.llm import llm_services
from services.query.questions.long_traces import LongTrace
from tael.model.json_text import to_bytes
from tael.model.span import Span
from tael.otlp.assemble import resource_spans
from tael.otlp.encode import encode_span, encode_spans
from tael.pb.tempo_pb2 import PARTIAL, Trace, TraceByIDMetrics, TraceByIDResponse
from tael.storage.long_traces import Slice


def missing_text(missing: Iterable[str]) -> str:
    """The reason why an answer is partial; empty if it is complete."""
    names = ", ".join(missing)
    return f"{names} did not answer" if names else ""


async def protobuf_v1(trace: LongTrace) -> AsyncGenerator[bytes]:
    """``tempopb.Trace``."""
    async with contextlib.aclosing(trace.encoded("otlp")) as blocks:
        async for block in blocks:
            yield (await asyncio.to_thread(_trace, block)).SerializeToString()


async def protobuf_v2(trace: LongTrace, limit_text: str) -> AsyncGenerator[bytes]:
    """``tempopb.TraceByIDResponse``; its status comes last."""
    async with contextlib.aclosing(trace.encoded("otlp")) as blocks:
        async for block in blocks:
            yield TraceByIDResponse(trace=await asyncio.to_thread(_trace, block)).SerializeToString()
    last = TraceByIDResponse(metrics=TraceByIDMetrics())
    if reason := _reason(trace, limit_text):
        last.status, last.message = PARTIAL, reason
    yield last.SerializeToString()


async def json_v1(trace: LongTrace) -> AsyncGenerator[bytes]:
    """``tempopb.Trace`` as JSON."""
    yield b'{"batches":['
    async for piece in encoded_groups(trace, "proto_json", _span_dict):
        yield piece
    yield b"]}"


async def json_v2(trace: LongTrace, limit_text: str) -> AsyncGenerator[bytes]:
    """``tempopb.TraceByIDResponse`` as JSON."""
    yield b'{"trace":{"resourceSpans":['
    async for piece in encoded_groups(trace, "proto_json", _span_dict):
        yield piece
    yield b"]}," + to_bytes({"metrics": {}, **_partial(trace, limit_text)})[1:]


async def llm(trace: LongTrace, limit_text: str) -> AsyncGenerator[bytes]:
    """The JSON for language models."""
    yield b'{"trace":{"traceId":' + to_bytes(trace.trace_id.hex()) + b',"services":['
    async for piece in elements(trace, lambda spans: llm_services(encode_spans(spans))):
        yield piece
    partial = _partial(trace, limit_text)
    yield b"]}," + to_bytes(partial)[1:] if partial else b"]}}"


def _span_dict(span: Span) -> dict[str, Any]:
    return MessageToDict(encode_span(span))


def _trace(block: Slice) -> Trace:
    origins = [block.origins[number] for number in block.origin_ids]
    bodies = (body if isinstance(body, bytes) else encode_span(body).SerializeToString() for body in block.bodies)
    return Trace(resource_spans=resource_spans((body, one.resource, one.scope) for body, one in zip(bodies, origins, strict=True)))


def _partial(trace: LongTrace, limit_text: str) -> dict[str, str]:
    reason = _reason(trace, limit_text)
    return {"status": "PARTIAL", "message": reason} if reason else {}


def _reason(trace: LongTrace, limit_text: str) -> str:
    cut = f"the trace has {trace.spans} spans, of which this is the first part ({limit_text})" if trace.shown < trace.spans else ""
    return "; ".join(reason for reason in (missing_text(trace.missing), cut) if reason)
