"""Jaeger's ``api_v3.QueryService``: spans as OTLP, in chunks, for Jaeger's own UI and newer clients.

Source: Jaeger's ``api_v3`` service. Its structured filter, an experiment that Jaeger has switched off, is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.query.api.jaeger import encode, parameters
from services.query.api.jaeger.answers import JaegerAnswers, left_out
from services.query.api.jaeger.parameters import Search
from services.query.api.rpc import PACKET_BYTES, Call, Method, Service
from tael.errors import Rejected
from tael.model.span import Span
from tael.otlp.assemble import Encoded, resource_spans
from tael.otlp.encode import encode_span, encode_spans
from tael.pb import jaeger_query_v3_pb2 as pb
from tael.storage.api import TraceTooLong
from tael.storage.long_traces import Slice

_SPANS = 500
"""The most spans of one chunk; fewer where they are large."""


class QueryServiceV3:
    """The methods, over the answers."""

    def __init__(self, answers: JaegerAnswers) -> None:
        self._answers = answers

    def service(self) -> Service:
        """The service of these methods."""
        return Service(
            "jaeger.api_v3.QueryService",
            (
                Method("GetTrace", pb.GetTraceRequest, self._get_trace),
                Method("FindTraces", pb.FindTracesRequest, self._find_traces),
                Method("FindTraceSummaries", pb.FindTraceSummariesRequest, self._find_summaries),
                Method("GetServices", pb.GetServicesRequest, self._get_services, streamed=False),
                Method("GetOperations", pb.GetOperationsRequest, self._get_operations, streamed=False),
                Method("GetDependencies", pb.GetDependenciesRequest, self._get_dependencies, streamed=False),
            ),
        )

    async def _get_trace(self, call: Call, request: pb.GetTraceRequest) -> AsyncGenerator[Message]:
        trace_id = parameters.parse_id_v3(request.trace_id)
        hint = parameters.hint(request.start_time, request.end_time)
        try:
            answer = await self._answers.trace(call.tenant, trace_id, "No traces found", hint)
        except TraceTooLong:
            trace = await self._answers.long_trace(call.tenant, trace_id)
            async with contextlib.aclosing(trace.encoded("otlp")) as blocks:
                async for block in blocks:
                    call.lacks([*trace.missing, *left_out(trace)])
                    for body in await asyncio.to_thread(_chunks_of_bytes, block):
                        yield body
            return
        call.lacks(answer.missing)
        for chunk in await asyncio.to_thread(_chunks, answer.value):
            yield chunk

    async def _find_traces(self, call: Call, request: pb.FindTracesRequest) -> AsyncGenerator[Message]:
        async with contextlib.aclosing(self._answers.search(call.tenant, _search_of(request.query))) as parts:
            async for part in parts:
                call.lacks(part.missing)
                for spans in part.value:
                    for chunk in await asyncio.to_thread(_chunks, spans):
                        yield chunk

    async def _find_summaries(self, call: Call, request: pb.FindTraceSummariesRequest) -> AsyncGenerator[Message]:
        async with contextlib.aclosing(self._answers.search(call.tenant, _search_of(request.query))) as parts:
            async for part in parts:
                call.lacks(part.missing)
                summaries = [ParseDict(encode.summary(spans), pb.TraceSummary()) for spans in part.value]
                yield pb.FindTraceSummariesResponse(summaries=summaries)

    async def _get_services(self, call: Call, _: pb.GetServicesRequest) -> AsyncGenerator[Message]:
        names = await self._answers.services(call.tenant)
        call.lacks(names.missing)
        yield pb.GetServicesResponse(services=names.value)

    async def _get_operations(self, call: Call, request: pb.GetOperationsRequest) -> AsyncGenerator[Message]:
        found = await self._answers.operations(call.tenant, request.service, request.span_kind)
        call.lacks(found.missing)
        yield pb.GetOperationsResponse(operations=[pb.Operation(name=name, span_kind=kind) for name, kind in found.value])

    async def _get_dependencies(self, call: Call, request: pb.GetDependenciesRequest) -> AsyncGenerator[Message]:
        answer = await self._answers.dependencies(
            call.tenant, parameters.range_message(request.start_time, request.end_time, time.time_ns())
        )
        call.lacks(answer.missing)
        yield pb.DependenciesResponse(
            dependencies=[pb.Dependency(parent=parent, child=child, call_count=calls) for parent, child, calls in answer.value]
        )


def _search_of(query: pb.TraceQueryParameters) -> Search:
    if query.filter:
        raise Rejected("structured filters are not supported", where="query.filter", accepted="service_name, operation_name, attributes")
    if Timestamp() in (query.start_time_min, query.start_time_max):
        raise Rejected("query.start_time_min and query.start_time_max are required")
    return parameters.search_message(query, query.attributes, time.time_ns())


def _chunks(spans: Sequence[Span]) -> list[Message]:
    """The spans of one trace in chunks of at most ``_SPANS`` spans and about PACKET_BYTES bytes."""
    return [chunk for start in range(0, len(spans), _SPANS) for chunk in _small(spans[start : start + _SPANS])]


def _chunks_of_bytes(block: Slice) -> list[Message]:
    """``_chunks`` for spans that are already encoded."""
    made, bodies = list[Message](), list[Encoded]()
    size = 0
    for body, number in zip(block.bodies, block.origin_ids, strict=True):
        encoded = body if isinstance(body, bytes) else encode_span(body).SerializeToString()
        if bodies and (len(bodies) == _SPANS or size + len(encoded) > PACKET_BYTES):
            made.append(pb.TracesData(resource_spans=resource_spans(bodies)))
            bodies, size = [], 0
        bodies.append((encoded, block.origins[number].resource, block.origins[number].scope))
        size += len(encoded)
    return [*made, pb.TracesData(resource_spans=resource_spans(bodies))] if bodies else made


def _small(spans: Sequence[Span]) -> list[Message]:
    body = pb.TracesData(resource_spans=[group.SerializeToString() for group in encode_spans(spans)])
    if body.ByteSize() <= PACKET_BYTES or len(spans) == 1:
        return [body]
    # Halved until each part fits, because sizes of spans differ too much for a fixed number.
    half = len(spans) // 2
    return [*_small(spans[:half]), *_small(spans[half:])]
