"""OTLP's three signals as one table, with the classes and names of each on the wire."""

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
    """``name`` is the signal's name in the WAL, ``rejected`` the response field with the number of refused items, ``items`` the word for
    them.

    ``stored`` is the class of a request as a WAL record holds it. If ``watched``, distinct attribute keys are counted, as senders choose
    them freely, while those of metrics identify series. ``item`` is the class of what scopes hold; for metrics these are the metrics,
    whereas ``items`` are data points.
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
"""The class of a WAL record's request, by signal; used to halve it, to re-encode it, and to show it as a dead letter."""
