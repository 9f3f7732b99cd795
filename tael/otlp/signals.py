"""OTLP's three signals as one table: what each is called on the wire. Adding a signal to a receiver is adding a row to what it admits."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.wal.api import LOGS, METRICS, TRACES


@dataclass(frozen=True, slots=True)
class Signal:
    """``name`` is the log's name for it, ``rejected`` the response's counter of refused items, ``items`` the word for them.

    ``item`` is what a request's scopes hold: of metrics these are not the data points, which is what ``items`` counts.
    """

    name: str
    items: str
    request: type[Message]
    item: type[Message]
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
            Span,
            ExportTraceServiceResponse,
            "rejected_spans",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            "/v1/traces",
        ),
        Signal(
            LOGS,
            "log records",
            ExportLogsServiceRequest,
            LogRecord,
            ExportLogsServiceResponse,
            "rejected_log_records",
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            "/v1/logs",
        ),
        Signal(
            METRICS,
            "data points",
            ExportMetricsServiceRequest,
            Metric,
            ExportMetricsServiceResponse,
            "rejected_data_points",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            "/v1/metrics",
        ),
    )
}
