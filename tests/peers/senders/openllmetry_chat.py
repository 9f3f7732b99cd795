"""OpenAI's client under OpenLLMetry's instrumentation, against a stub on this machine: openllmetry_chat.py BASE_URL."""

from __future__ import annotations

import json
import sys

from openai import OpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
OpenAIInstrumentor().instrument(tracer_provider=provider)
client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
with provider.get_tracer("peers").start_as_current_span("ask") as root:
    client.chat.completions.create(
        model="pretend-1", temperature=0.5, max_tokens=50, messages=[{"role": "user", "content": "why is the sky blue?"}]
    )
provider.shutdown()
json.dump({"trace_id": f"{root.get_span_context().trace_id:032x}"}, sys.stdout)
