"""OTLP's three signals as one table: what each is called on the wire. Adding a signal to a receiver is adding a row to what it admits."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from tael.wal.api import LOGS, METRICS, TRACES


@dataclass(frozen=True, slots=True)
class Signal:
    """``name`` is the log's name for it, ``rejected`` the response's counter of refused items, ``items`` the word for them."""

    name: str
    items: str
    request: type[Message]
    response: type[Message]
    rejected: str
    grpc_method: str
    http_path: str


SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        Signal(
            TRACES,
            "spans",
            ExportTraceServiceRequest,
            ExportTraceServiceResponse,
            "rejected_spans",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            "/v1/traces",
        ),
        Signal(
            LOGS,
            "log records",
            ExportLogsServiceRequest,
            ExportLogsServiceResponse,
            "rejected_log_records",
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            "/v1/logs",
        ),
        Signal(
            METRICS,
            "data points",
            ExportMetricsServiceRequest,
            ExportMetricsServiceResponse,
            "rejected_data_points",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "/v1/metrics",
        ),
    )
}
