"""A LangChain chain under OpenInference's instrumentation; the model only pretends."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class Pretender(FakeMessagesListChatModel):
    """A model that says what it was given, under a name that instrumentations find."""

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "pretend-1", "temperature": 0.5}


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
LangChainInstrumentor().instrument(tracer_provider=provider)
answer = AIMessage(
    content="because of Rayleigh scattering",
    usage_metadata={"input_tokens": 11, "output_tokens": 5, "total_tokens": 16},
    response_metadata={"model_name": "pretend-1", "finish_reason": "stop"},
)
chain = ChatPromptTemplate.from_messages([("system", "be brief"), ("user", "why is the {thing} blue?")]) | Pretender(responses=[answer])
with provider.get_tracer("peers").start_as_current_span("ask") as root:
    chain.invoke({"thing": "sky"})
provider.shutdown()
json.dump({"trace_id": f"{root.get_span_context().trace_id:032x}"}, sys.stdout)
