"""A service that logs with OpenTelemetry's SDK for Python: otel_sdk_logs.py grpc|http/protobuf; a record within a span, and an event."""

from __future__ import annotations

import json
import sys
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

provider = LoggerProvider(Resource.create({"ports": [80, 443]}))
provider.add_log_record_processor(BatchLogRecordProcessor(GrpcExporter() if sys.argv[1] == "grpc" else HttpExporter()))
at_ns = time.time_ns() - 5_000_000_001
logger = provider.get_logger("peers", "1.2")
with TracerProvider().get_tracer("peers").start_as_current_span("GET /cart") as span:
    logger.emit(
        LogRecord(
            timestamp=at_ns,
            severity_number=SeverityNumber.WARN,
            severity_text="WARNING",
            body="the queue grüßt",
            attributes={"int": 1 << 60, "double": 0.5, "on": True, "list": ["a", "b"], "deep": {"k": [1, {"x": None}]}},
        )
    )
logger.emit(LogRecord(body={"order": {"id": 7, "items": ["x", 1.5]}}, event_name="order.placed"))
provider.shutdown()
context = span.get_span_context()
json.dump({"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}", "at_ns": at_ns}, sys.stdout)
