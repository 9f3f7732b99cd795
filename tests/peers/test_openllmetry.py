"""OpenLLMetry's instrumentation of OpenAI's client, without a model: a stub answers."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.peers.conftest import exporting, read_trace, run_python
from tests.support.suite import Suite

_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "pretend-1-0925",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "because of Rayleigh scattering", "refusal": None},
        }
    ],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
}


class _Stub(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # http.server's name
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(_ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextlib.contextmanager
def stub() -> Iterator[str]:
    """A chat endpoint that always says the same."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def test_a_chat_fills_the_columns_of_an_llm_call(suite: Suite) -> None:
    """Beside every attribute that the instrumentation wrote."""
    with stub() as url:
        trace_id = run_python("openllmetry_chat", url, environment=exporting(suite, "llmetry"))["trace_id"]
    spans = read_trace(suite, trace_id, 2).values()
    (ask,) = [span for span in spans if span["operation"] == "ask"]
    (chat,) = [span for span in spans if span["kind"] == "llm"]
    assert (chat["service"], chat["parent_span_id"], chat["span_kind"]) == ("llmetry", ask["span_id"], "client")
    assert chat["scope"]["name"].startswith("opentelemetry.instrumentation.openai")
    assert {key: value for key, value in chat["llm"].items() if value is not None} == {
        "provider": "openai",
        "model": "pretend-1",
        "operation": "chat",
        "input_tokens": 11,
        "output_tokens": 5,
        "total_tokens": 16,
        "finish_reason": "stop",
        "temperature": 0.5,
        "response_model": "pretend-1-0925",
        "counted": True,
        "messages": [],
    }
    attributes = chat["attributes"]
    assert (attributes["gen_ai.request.max_tokens"], attributes["gen_ai.response.model"]) == (50, "pretend-1-0925")
    assert attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert "why is the sky blue?" in attributes["gen_ai.input.messages"]
    assert "Rayleigh" in attributes["gen_ai.output.messages"]
    found = suite.get("/api/v1/traces?model=pretend-1&service=llmetry&text=rayleigh")["spans"]
    assert [span["span_id"] for span in found] == [chat["span_id"]]
