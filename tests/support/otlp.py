"""The receivers over a WAL in memory, requests for them, and plain clients that expose every header and status."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc.aio
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import CollectorRegistry

from services.ingest.pipeline import Pipeline
from services.ingest.receivers import otlp_grpc, otlp_http
from services.ingest.receivers.settings import ReceiverSettings
from tael.cluster.shard import Router
from tael.model.signals import LOGS, METRICS, PAYLOADS, TRACES
from tael.otlp.signals import SIGNALS
from tael.pb.payloads_pb2 import PayloadBatch
from tael.runtime.config import Address
from tael.wal import codec
from tael.wal.payloads import joined
from tests.support.suite import PATIENCE_SECONDS

FOREVER = {f"TAEL_{signal}_RETENTION_DAYS": "36500" for signal in ("TRACE", "LOG", "METRIC")}
"""For requests with fixed times."""
TRACES_METHOD = SIGNALS["traces"].grpc_method
BASE_NS = time.time_ns()
"""When the spans of this run's requests start; the same for all, so that equal requests are equal bytes."""


@dataclass
class MemoryLog:
    """A WalAppender that keeps bodies by shard; raises ``error`` or waits for ``gate`` if they are set."""

    max_body_bytes: int = 8 << 20
    error: Exception | None = None
    gate: asyncio.Event | None = None
    waiting: int = 0
    appended: list[tuple[int, str, bytes, int]] = field(default_factory=list)
    seen: set[tuple[int, str]] = field(default_factory=set)

    turned: int = 0

    def turns(self, shard: int) -> int:
        return self.turned

    async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
        assert len(body) <= self.max_body_bytes
        if self.gate is not None:
            self.waiting += 1
            try:
                await self.gate.wait()
            finally:
                self.waiting -= 1
        if self.error is not None:
            raise self.error
        if (shard, dedup_id) not in self.seen:
            self.seen.add((shard, dedup_id))
            self.appended.append((shard, signal, body, items))

    @property
    def requests(self) -> list[bytes]:
        """The OTLP bytes of every append, in order."""
        return [record.request for _, signal, body, _ in self.appended if signal != PAYLOADS for record in codec.decode(body)]

    @property
    def payloads(self) -> dict[bytes, bytes]:
        """Every payload in the WAL, complete, by its hash."""
        found: dict[bytes, list[tuple[int, bytes]]] = {}
        sizes: dict[bytes, int] = {}
        for _, signal, body, _ in self.appended:
            for record in codec.decode(body) if signal == PAYLOADS else ():
                for piece in PayloadBatch.FromString(record.request).payloads:
                    found.setdefault(piece.sha256, []).append((piece.offset, piece.content))
                    sizes[piece.sha256] = piece.size
        whole = {sha256: joined(held, sizes[sha256]) for sha256, held in found.items()}
        return {sha256: content for sha256, content in whole.items() if content is not None}

    @property
    def spans(self) -> list[Span]:
        """Every span in the WAL, in order."""
        return [span for request in self.requests for span in spans_of(request)]


def spans_of(request: bytes) -> list[Span]:
    """The spans of an encoded request, in order."""
    message = ExportTraceServiceRequest.FromString(request)
    return [span for r in message.resource_spans for scope in r.scope_spans for span in scope.spans]


@dataclass(frozen=True)
class Receivers:
    """Running receivers, and the WAL behind them."""

    grpc: Address
    http: Address
    log: MemoryLog
    pipeline: Pipeline

    @property
    def url(self) -> str:
        return f"http://{self.http}/v1/traces"


def receiver_settings(**changes: Any) -> ReceiverSettings:
    """Settings with free ports and a short wait, with ``changes`` by environment variable."""
    values = {
        "TAEL_OTLP_GRPC_ADDR": "127.0.0.1:0",
        "TAEL_OTLP_HTTP_ADDR": "127.0.0.1:0",
        "TAEL_INFLIGHT_WAIT_SECS": 0.05,
        **FOREVER,
        **changes,
    }
    return ReceiverSettings.model_validate(values)


@contextlib.asynccontextmanager
async def receiving(appender: Any = None, *, shards: int = 1, now_ns: Any = time.time_ns, **changes: Any) -> AsyncIterator[Receivers]:
    """Both receivers on free ports."""
    log = MemoryLog() if appender is None else appender
    settings = receiver_settings(**changes)
    pipeline = Pipeline(log, Router(shards), settings, now_ns=now_ns, registry=CollectorRegistry())
    async with otlp_grpc.serve(settings, pipeline) as grpc_address, otlp_http.serve(settings, pipeline) as http_address:
        yield Receivers(grpc_address, http_address, log, pipeline)


def request_of(count: int, *, attribute: str = "value", service: str = "shop") -> ExportTraceServiceRequest:
    """A request with ``count`` spans of a dozen attributes under one resource and scope."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add(schema_url="https://opentelemetry.io/schemas/1.40.0")
    resource_spans.resource.attributes.add(key="service.name").value.string_value = service
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "tests"
    for i in range(count):
        span = scope_spans.spans.add(
            trace_id=os.urandom(15) + b"\1", span_id=os.urandom(7) + b"\1", name=f"GET /{i}", kind=Span.SPAN_KIND_SERVER
        )
        span.start_time_unix_nano, span.end_time_unix_nano = BASE_NS + i, BASE_NS + 100_000_000 + i
        for k in range(11):
            span.attributes.add(key=f"test.attribute.{k}").value.string_value = f"{attribute}{i}"
    return request


@dataclass(frozen=True)
class GrpcAnswer:
    """The outcome of a call: the response, or the status code with its text and details."""

    code: grpc.StatusCode
    message: str = ""
    status: Status | None = None
    response: ExportTraceServiceResponse | None = None


async def call(address: Address, body: bytes, *, method: str = TRACES_METHOD, **options: Any) -> GrpcAnswer:
    """Send one Export call with raw bytes on a new channel."""
    channel_options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(str(address), options=channel_options) as channel:
        try:
            raw = await channel.unary_unary(method)(body, timeout=60, **options)
        except grpc.aio.AioRpcError as error:
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
            return GrpcAnswer(error.code(), error.details() or "", Status.FromString(details) if details else None)
    return GrpcAnswer(grpc.StatusCode.OK, response=ExportTraceServiceResponse.FromString(raw))


def bomb(size_bytes: int) -> bytes:
    """``size_bytes`` zeros compressed by gzip, to about a thousandth."""
    packer = zlib.compressobj(9, wbits=31)
    step = bytes(1 << 20)
    return b"".join([*(packer.compress(step) for _ in range(size_bytes >> 20)), packer.flush()])


async def eventually(check: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until ``check`` holds. Raises AssertionError on timeout."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.005)


def refused(address: Address) -> bool:
    """Whether connections to the address are refused."""
    with socket.socket() as probe:
        return probe.connect_ex((address.host, address.port)) != 0


class PeakMemory:
    """The peak memory of this process since the start of the block (Linux's VmHWM, which can be reset)."""

    def __enter__(self) -> Self:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._peak_bytes()
        return self

    def __exit__(self, *_: object) -> None:
        self.grown_bytes = self._peak_bytes() - self._before

    @staticmethod
    def _peak_bytes() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10


def sample(signal: str, count: int, *, marker: str = "value") -> Message:
    """A request of any signal with ``count`` current items that contain ``marker``."""
    return _SAMPLES[signal](count, marker)


def _logs(count: int, marker: str) -> Message:
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add(schema_url="https://opentelemetry.io/schemas/1.40.0")
    resource_logs.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = "tests"
    for i in range(count):
        record = scope_logs.log_records.add(time_unix_nano=time.time_ns(), severity_number=9, severity_text="INFO")
        record.trace_id, record.span_id = os.urandom(15) + b"\1", os.urandom(7) + b"\1"
        record.body.string_value = f"order {i} {marker}"
        record.attributes.add(key="test.attribute").value.string_value = marker
    return request


def _metrics(count: int, marker: str) -> Message:
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope_metrics = resource_metrics.scope_metrics.add()
    scope_metrics.scope.name = "tests"
    metric = scope_metrics.metrics.add(name="queue.length", unit="1")
    for i in range(count):
        point = metric.gauge.data_points.add(time_unix_nano=time.time_ns(), as_double=i)
        point.attributes.add(key="test.attribute").value.string_value = f"{marker}{i}"
    return request


_SAMPLES: dict[str, Callable[[int, str], Message]] = {
    TRACES: lambda count, marker: request_of(count, attribute=marker),
    LOGS: _logs,
    METRICS: _metrics,
}
