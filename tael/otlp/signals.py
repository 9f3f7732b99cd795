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

from tael.model.signals import LOGS, METRICS, PAYLOADS, TOTALS, TRACES
from tael.pb.metrics_pb2 import MetricBatch, TotalBatch
from tael.pb.payloads_pb2 import PayloadBatch


@dataclass(frozen=True, slots=True)
class Signal:
    """``name`` is the WAL's name for it, ``rejected`` the response's counter of refused items, ``items`` the word for them.

    ``stored`` is what a record of the WAL holds of a request; where ``watched``, attributes are the sender's choice and their keys are counted, while
    those of metrics identify series. ``item`` is what a request's scopes hold: of metrics these are not the data points, which is what ``items`` counts.
    """

    name: str
    items: str
    request: type[Message]
    item: type[Message]
    response: type[Message]
    rejected: str
    grpc_method: str
    http_path: str
    stored: type[Message]
    watched: bool


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
            ExportTraceServiceRequest,
            True,
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
            ExportLogsServiceRequest,
            True,
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
            MetricBatch,
            False,
        ),
    )
}

STORED: dict[str, type[Message]] = {
    **{name: signal.stored for name, signal in SIGNALS.items()},
    TOTALS: TotalBatch,
    PAYLOADS: PayloadBatch,
}
"""What a record's request is, by the name of its signal: how it is cut in halves, written anew and shown as a dead letter."""
