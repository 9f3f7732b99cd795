"""Jaeger's ``api_v2.QueryService``: spans in Jaeger's own model, in chunks, for clients that predate OTLP.

Source: Jaeger's ``api_v2`` service. Values are those of the JSON API, times are in nanoseconds. There is no archive.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.query.api.jaeger import encode, parameters
from services.query.api.jaeger.answers import JaegerAnswers
from services.query.api.rpc import Call, Method, Service, packets
from tael.errors import Rejected
from tael.model.span import Span
from tael.pb import jaeger_query_pb2 as pb


class QueryServiceV2:
    """The methods, over the answers."""

    def __init__(self, answers: JaegerAnswers) -> None:
        self._answers = answers

    def service(self) -> Service:
        """The service of these methods."""
        return Service(
            "jaeger.api_v2.QueryService",
            (
                Method("GetTrace", pb.GetTraceRequest, self._get_trace),
                Method("FindTraces", pb.FindTracesRequest, self._find_traces),
                Method("GetServices", pb.GetServicesRequest, self._get_services, streamed=False),
                Method("GetOperations", pb.GetOperationsRequest, self._get_operations, streamed=False),
                Method("GetDependencies", pb.GetDependenciesRequest, self._get_dependencies, streamed=False),
            ),
        )

    async def _get_trace(self, call: Call, request: pb.GetTraceRequest) -> AsyncGenerator[Message]:
        trace_id = parameters.parse_id(request.trace_id.hex())
        hint = parameters.hint(request.start_time, request.end_time)
        processes = encode.Processes()
        async with contextlib.aclosing(self._answers.blocks(call.tenant, trace_id, "trace not found", hint)) as blocks:
            async for answer in blocks:
                call.lacks(answer.missing)
                for chunk in await asyncio.to_thread(_chunks, answer.value, processes):
                    yield chunk

    async def _find_traces(self, call: Call, request: pb.FindTracesRequest) -> AsyncGenerator[Message]:
        search = parameters.search_message(request.query, request.query.tags, time.time_ns())
        async with contextlib.aclosing(self._answers.search(call.tenant, search)) as parts:
            async for part in parts:
                call.lacks(part.missing)
                for spans in part.value:
                    for chunk in await asyncio.to_thread(_chunks, spans, encode.Processes()):
                        yield chunk

    async def _get_services(self, call: Call, _: pb.GetServicesRequest) -> AsyncGenerator[Message]:
        names = await self._answers.services(call.tenant)
        call.lacks(names.missing)
        yield pb.GetServicesResponse(services=names.value)

    async def _get_operations(self, call: Call, request: pb.GetOperationsRequest) -> AsyncGenerator[Message]:
        if not request.service:
            raise Rejected("missing", where="service", accepted="the name of a service")
        found = await self._answers.operations(call.tenant, request.service, request.span_kind)
        call.lacks(found.missing)
        names = sorted({name for name, _ in found.value})
        yield pb.GetOperationsResponse(
            operationNames=names, operations=[pb.Operation(name=name, span_kind=kind) for name, kind in found.value]
        )

    async def _get_dependencies(self, call: Call, request: pb.GetDependenciesRequest) -> AsyncGenerator[Message]:
        answer = await self._answers.dependencies(
            call.tenant, parameters.range_message(request.start_time, request.end_time, time.time_ns())
        )
        call.lacks(answer.missing)
        yield pb.GetDependenciesResponse(
            dependencies=[pb.DependencyLink(parent=parent, child=child, call_count=calls) for parent, child, calls in answer.value]
        )


def _chunks(spans: Sequence[Span], known: encode.Processes) -> list[Message]:
    """The spans of one trace as chunks, each span with its process."""
    bodies = known.encode(spans)
    processes = {name: _process(process) for name, process in known.bodies.items()}
    messages = [_span(span, encoded, processes) for span, encoded in zip(spans, bodies, strict=True)]
    return list(packets(pb.SpansResponseChunk(spans=messages), "spans"))


def _span(span: Span, encoded: Mapping[str, Any], processes: Mapping[str, pb.Process]) -> pb.Span:
    return pb.Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        operation_name=encoded["operationName"],
        references=[_reference(reference) for reference in encoded["references"]],
        flags=span.flags & 0xFF,
        start_time=_timestamp(span.start_ns),
        duration=_duration(span.duration_ns),
        tags=_tags(encoded["tags"]),
        logs=[
            pb.Log(timestamp=_timestamp(event.time_ns), fields=_tags(log["fields"]))
            for event, log in zip(span.events, encoded["logs"], strict=True)
        ],
        process=processes[encoded["processID"]],
        process_id=encoded["processID"],
    )


def _reference(reference: Mapping[str, str]) -> pb.SpanRef:
    ids = {"trace_id": bytes.fromhex(reference["traceID"]), "span_id": bytes.fromhex(reference["spanID"])}
    return pb.SpanRef(**ids, ref_type=reference["refType"])


def _process(process: Mapping[str, Any]) -> pb.Process:
    return pb.Process(service_name=process["serviceName"], tags=_tags(process["tags"]))


def _tags(tags: Iterable[Mapping[str, Any]]) -> list[pb.KeyValue]:
    return [_tag(tag["key"], tag["type"], tag["value"]) for tag in tags]


def _tag(key: str, kind: str, value: Any) -> pb.KeyValue:
    match kind:
        case "bool":
            return pb.KeyValue(key=key, v_type=pb.BOOL, v_bool=value)
        case "int64":
            return pb.KeyValue(key=key, v_type=pb.INT64, v_int64=int(value))
        case "float64":
            return pb.KeyValue(key=key, v_type=pb.FLOAT64, v_float64=float(value))
        case "binary":
            return pb.KeyValue(key=key, v_type=pb.BINARY, v_binary=base64.b64decode(value))
        case _:
            return pb.KeyValue(key=key, v_type=pb.STRING, v_str=value)


def _timestamp(ns: int) -> Timestamp:
    return Timestamp(seconds=ns // 10**9, nanos=ns % 10**9)


def _duration(ns: int) -> Duration:
    return Duration(seconds=ns // 10**9, nanos=ns % 10**9)
