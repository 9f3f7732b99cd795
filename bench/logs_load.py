"""Log records for bench.load: ten attributes each, half of them in a trace, with bodies of a few kinds that contain varying numbers.

python -m bench.load --signal logs --spans 100
"""

from __future__ import annotations

import os
import time

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bench.marks import places_of

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_RECORDS_PER_TRACE = 10
_TIME, _OBSERVED = 0x54494D4554494D45, 0x4F42534552564544
_BODIES = (
    "user {n} added item {n} to the cart in {m} ms",
    "GET /api/v1/items/{n} HTTP/1.1 200 {m}",
    "payment for order {n} declined by provider: timeout after {m} ms",
    "cache miss for key session:{n}",
    "connection to db-{d}.internal:5432 refused, retrying in {m} ms",
)
_SEVERITIES = ((9, "INFO"), (9, "INFO"), (5, "DEBUG"), (13, "WARN"), (17, "ERROR"))


def template(records: int, service: str) -> bytes:
    """A request with markers as ids and times, to be overwritten."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    for key, value in (
        ("service.name", service),
        ("service.version", "1.4.2"),
        ("host.name", "node-7"),
        ("deployment.environment.name", "b"),
    ):
        group.resource.attributes.add(key=key).value.string_value = value
    scope = group.scope_logs.add()
    scope.scope.name = "bench"
    for index in range(records):
        number, text = _SEVERITIES[index % len(_SEVERITIES)]
        record = scope.log_records.add(time_unix_nano=_TIME, observed_time_unix_nano=_OBSERVED, severity_text=text)
        record.severity_number = number  # type: ignore[assignment]  # a number, as on the wire
        record.body.string_value = _BODIES[index % len(_BODIES)].format(n=index * 7919 % 1_000_003, m=index * 37 % 900, d=index % 9)
        if index // _RECORDS_PER_TRACE % 2 == 0:
            record.trace_id = b"TRACETRA" + (index // _RECORDS_PER_TRACE).to_bytes(8, "big")
            record.span_id = b"SPAN" + index.to_bytes(4, "big")
        texts = {
            "code.file.path": f"/app/handlers/{index % 40}.py",
            "code.function.name": f"handle_{index % 40}",
            "thread.name": f"worker-{index % 16}",
            "http.route": "/items/{id}",
            "client.address": f"10.0.0.{index % 250}",
            "session.id": f"s-{index * 7919 % 100003}",
        }
        for key, value in texts.items():
            record.attributes.add(key=key).value.string_value = value
        for key, whole in (("code.line.number", index * 13 % 400), ("http.response.status_code", 200), ("process.pid", 7)):
            record.attributes.add(key=key).value.int_value = whole
        record.attributes.add(key="cache.hit").value.bool_value = index % 3 == 0
    return request.SerializeToString()


class LogSender:
    """Makes requests from the template by overwriting the markers with new trace ids and times."""

    def __init__(self, records: int, service: str) -> None:
        self._bytes = np.frombuffer(template(records, service), dtype=np.uint8).copy()
        raw = self._bytes.tobytes()
        self._traces = places_of(raw, b"TRACETRA")
        self._times, self._observed = places_of(raw, _TIME.to_bytes(8, "little")), places_of(raw, _OBSERVED.to_bytes(8, "little"))
        self._seed, self._next = int.from_bytes(os.urandom(4), "big") << 32, 0

    def make(self) -> bytes:
        """A new request."""
        self._next += 1
        now = time.time_ns()
        for places, value in (
            (self._traces, (self._seed | self._next).to_bytes(8, "big")),
            (self._times, now.to_bytes(8, "little")),
            (self._observed, (now + 1_000).to_bytes(8, "little")),
        ):
            self._bytes[places] = np.frombuffer(value, dtype=np.uint8)
        return self._bytes.tobytes()
