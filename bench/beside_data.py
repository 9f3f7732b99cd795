"""Requests of OTLP for bench.beside: spans and log records, the same in each run.

Spans: ten per trace; random ids; a span's parent is one of the three before it; traces evenly spaced over the hour; durations exponential
(mean 40 ms), 2 % errors; 20 services, of which the first has a third of the spans; 50 operations a service, skewed in the same way.
Attributes, with the number of values of each: http.request.method 4 (70 % GET), http.route 200 (skewed), url.path 1,000,000, server.address
200, client.address 60,000, session.id one a trace, http.response.status_code 5, http.response.body.size 9,000, cache.hit 2. Log records:
evenly spaced over the hour; 20 services, skewed, with 4 pods each; 5 % errors; JSON lines of six words of 3,000, a request number of 10
million, a status of 5, a duration of 900 and a path of 200. All numbers come from one seeded generator.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SPANS_A_TRACE = 10
TRACES_A_REQUEST = 400
RECORDS_A_REQUEST = 4_000
HOUR_NS = 3_600 * 10**9
_METHODS = ("GET",) * 7 + ("POST", "PUT", "DELETE")
_STATUSES = (200, 200, 200, 200, 201, 302, 404, 500)


def skewed(chance: random.Random, n: int) -> int:
    """A number below n; the first has the cube root of 1/n of all."""
    return int(n * chance.random() ** 3)


def pairs(values: dict[str, str | int | bool]) -> list[KeyValue]:
    """The values as attributes."""
    attributes = []
    for key, value in values.items():
        attribute = KeyValue(key=key)
        if isinstance(value, bool):
            attribute.value.bool_value = value
        elif isinstance(value, int):
            attribute.value.int_value = value
        else:
            attribute.value.string_value = value
        attributes.append(attribute)
    return attributes


def span_requests(traces: int, end_s: int) -> Iterator[tuple[bytes, str, str]]:
    """Requests, each with the id of one of its traces and one of its paths."""
    chance = random.Random(1)
    start_ns = end_s * 10**9 - HOUR_NS
    for first in range(0, traces, TRACES_A_REQUEST):
        by_service: dict[int, list[Span]] = {}
        for trace in range(first, min(traces, first + TRACES_A_REQUEST)):
            begin = start_ns + int(trace / traces * (HOUR_NS - 2 * 10**9))
            spans = _trace(chance, begin)
            for span in spans:
                by_service.setdefault(skewed(chance, 20), []).append(span)
        message = ExportTraceServiceRequest()
        for service, listed in by_service.items():
            resource = message.resource_spans.add()
            resource.resource.attributes.extend(
                pairs(
                    {
                        "service.name": f"service-{service}",
                        "service.version": f"1.{service % 3}.0",
                        "host.name": f"node-{chance.randrange(40)}",
                    }
                )
            )
            scope = resource.scope_spans.add()
            scope.scope.name = "io.opentelemetry.http"
            scope.spans.extend(listed)
        path = next(attribute.value.string_value for attribute in spans[-1].attributes if attribute.key == "url.path")
        yield message.SerializeToString(), spans[0].trace_id.hex(), path


def _trace(chance: random.Random, begin: int) -> list[Span]:
    trace_id, session = chance.randbytes(16), f"s-{chance.randbytes(8).hex()}"
    spans: list[Span] = []
    for at in range(SPANS_A_TRACE):
        start = begin + chance.randrange(10**9)
        span = Span(
            trace_id=trace_id,
            span_id=chance.randbytes(8),
            parent_span_id=spans[max(0, at - 1 - chance.randrange(3))].span_id if at else b"",
            name=f"GET /operation-{skewed(chance, 50)}",
            kind=chance.choice((Span.SPAN_KIND_SERVER, Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL)),
            start_time_unix_nano=start,
            end_time_unix_nano=start + int(chance.expovariate(1 / 40e6)) + 1,
            status=Status(code=Status.STATUS_CODE_ERROR if chance.randrange(50) == 0 else Status.STATUS_CODE_UNSET),
        )
        span.attributes.extend(
            pairs(
                {
                    "http.request.method": chance.choice(_METHODS),
                    "http.route": f"/api/v1/thing-{skewed(chance, 200)}/{{id}}",
                    "url.path": f"/api/v1/item/{chance.randrange(10**6)}",
                    "server.address": f"10.0.0.{chance.randrange(200)}",
                    "client.address": f"192.168.{chance.randrange(240)}.{chance.randrange(250)}",
                    "session.id": session,
                    "http.response.status_code": chance.choice(_STATUSES),
                    "http.response.body.size": chance.randrange(9_000),
                    "cache.hit": chance.randrange(10) < 3,
                }
            )
        )
        spans.append(span)
    return spans


def log_requests(records: int, end_s: int) -> Iterator[tuple[bytes, int]]:
    """Requests, each with the number of one of its lines."""
    chance = random.Random(2)
    start_ns = end_s * 10**9 - HOUR_NS
    for first in range(0, records, RECORDS_A_REQUEST):
        message = ExportLogsServiceRequest()
        scopes: dict[tuple[int, int], Any] = {}
        for number in range(first, min(records, first + RECORDS_A_REQUEST)):
            service, pod, failed, request = skewed(chance, 20), chance.randrange(4), chance.randrange(20) == 0, chance.randrange(10**7)
            if (service, pod) not in scopes:
                resource = message.resource_logs.add()
                names: dict[str, str | int | bool] = {
                    "service.name": f"service-{service}",
                    "k8s.namespace.name": "shop",
                    "k8s.pod.name": f"service-{service}-{pod}",
                }
                resource.resource.attributes.extend(pairs(names))
                scopes[service, pod] = resource.scope_logs.add()
            record = scopes[service, pod].log_records.add()
            record.time_unix_nano = record.observed_time_unix_nano = start_ns + int(number / records * (HOUR_NS - 10**9))
            record.severity_number, record.severity_text = (17, "ERROR") if failed else (9, "INFO")
            line = {
                "msg": " ".join(f"word{skewed(chance, 3_000)}" for _ in range(6)) + f" request {request}.",
                "path": f"/api/v1/thing-{skewed(chance, 200)}",
                "status": chance.choice(_STATUSES),
                "took_ms": chance.randrange(900),
            }
            record.body.string_value = json.dumps(line)
            record.attributes.extend(pairs({"logger.name": f"com.shop.{chance.randrange(100)}", "thread.id": chance.randrange(64)}))
        yield message.SerializeToString(), request
