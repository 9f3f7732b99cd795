"""A service traced with OpenTelemetry's SDK for Python: otel_sdk.py grpc|http/protobuf; the rest is in the environment."""

from __future__ import annotations

import json
import sys
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

provider = TracerProvider(resource=Resource.create({"ports": [80, 443]}))
provider.add_span_processor(BatchSpanProcessor(GrpcExporter() if sys.argv[1] == "grpc" else HttpExporter()))
tracer = provider.get_tracer("peers", "1.2", schema_url="https://opentelemetry.io/schemas/1.40.0", attributes={"team": "shop"})
attributes: dict[str, Any] = {"text": "grüße", "int": 1 << 60, "double": 0.5, "on": True, "list": ["a", "b"], "numbers": [1, 2]}
with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER, attributes=attributes) as root:
    root.add_event("paid", {"amount": 3}, timestamp=1_700_000_000_000_000_001)
    with tracer.start_as_current_span("pay", links=[Link(root.get_span_context(), {"why": "test"})]) as child:
        child.set_status(Status(StatusCode.ERROR, "card declined"))
provider.shutdown()
spans = {"root": root, "child": child}
ids = {name: f"{span.get_span_context().span_id:016x}" for name, span in spans.items()}
json.dump({"trace_id": f"{root.get_span_context().trace_id:032x}", **ids}, sys.stdout)
