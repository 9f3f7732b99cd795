"""Datadog's trace agent as tracers find it, against the real receiver."""

from __future__ import annotations

import contextlib
import gzip
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgpack
import pytest
from prometheus_client import CollectorRegistry

from services.ingest.pipeline import Pipeline
from services.ingest.receivers import datadog
from tael.cluster.shard import Router
from tael.errors import Overloaded, Unavailable
from tael.runtime.config import Address
from tests.support.datadog import as_json, as_msgpack, as_v05, raw_span
from tests.support.otlp import MemoryLog, receiver_settings, refused

V03, V04, V05 = "/v0.3/traces", "/v0.4/traces", "/v0.5/traces"
MSGPACK, JSON = "application/msgpack", "application/json"
ACCEPTED: dict[str, Any] = {"rate_by_service": {}}


@dataclass(frozen=True)
class Agent:
    """The receiver, and the log behind it."""

    address: Address
    log: MemoryLog
    http: aiohttp.ClientSession

    async def send(self, path: str, body: bytes, kind: str | None = MSGPACK, method: str = "PUT", **headers: str) -> tuple[int, Any]:
        """Status and JSON of one request."""
        named = {"Content-Type": kind} if kind else {}
        async with self.http.request(method, f"http://{self.address}{path}", data=body, headers={**named, **headers}) as answer:
            return answer.status, await answer.json()


@contextlib.asynccontextmanager
async def agent(log: MemoryLog | None = None, **changes: Any) -> AsyncIterator[Agent]:
    log = log or MemoryLog()
    settings = receiver_settings(**{"TAEL_DD_AGENT_ADDR": "127.0.0.1:0", **changes})
    pipeline = Pipeline(log, Router(1), settings, registry=CollectorRegistry())
    async with (
        datadog.serve(settings, pipeline) as address,
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as http,
    ):
        assert address is not None
        yield Agent(address, log, http)


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("path", "kind", "encode"),
    [
        (V03, MSGPACK, as_msgpack),
        (V04, MSGPACK, as_msgpack),
        (V05, MSGPACK, as_v05),
        (V05, None, as_v05),
        (V03, JSON, as_json),
        (V04, "text/json", as_json),
        (V04, None, as_json),
        (V04, None, as_msgpack),
        (V04, "text/plain", as_json),
    ],
)
async def test_traces_are_in_the_log_when_they_are_answered(method: str, path: str, kind: str | None, encode: Any) -> None:
    async with agent() as a:
        assert await a.send(path, encode([[raw_span()], [raw_span(trace_id=9)]]), kind, method) == (200, ACCEPTED)
        assert [(span.name, span.trace_id[-1]) for span in a.log.spans] == [("web.request", 7), ("web.request", 9)]


async def test_the_same_payload_again_is_stored_once() -> None:
    """A tracer that lost the answer sends it again."""
    async with agent() as a:
        for _ in range(2):
            assert await a.send(V04, as_msgpack([[raw_span()]])) == (200, ACCEPTED)
        assert len(a.log.spans) == 1


async def test_an_empty_payload_is_accepted() -> None:
    """Tracers ask with one whether a version is there."""
    async with agent() as a:
        assert await a.send(V04, as_msgpack([])) == (200, ACCEPTED)
        assert await a.send(V05, as_v05([])) == (200, ACCEPTED)
        assert a.log.appended == []


@pytest.mark.parametrize(("priority", "error", "stored"), [(2, 0, 3), (1, 0, 3), (None, 0, 3), (0, 0, 1), (0, 1, 3), (-1, 1, 1)])
async def test_traces_that_a_tracer_sampled_out_are_kept_by_default(priority: int | None, error: int, stored: int) -> None:
    """As by Datadog's agent: a decision is the trace's, an error outweighs a rate, and a span that was picked by itself stays."""
    decided = {} if priority is None else {"_sampling_priority_v1": priority}
    picked = raw_span(span_id=10, metrics={"_dd.span_sampling.mechanism": 8})
    body = as_msgpack([[raw_span(metrics=decided), raw_span(span_id=9, error=error), picked]])
    async with agent() as a:
        assert await a.send(V04, body) == (200, ACCEPTED)
        assert len(a.log.spans) == 3
    async with agent(TAEL_DD_AGENT_DROP_REJECTED="on") as a:
        assert await a.send(V04, body) == (200, ACCEPTED)
        assert len(a.log.spans) == stored
        assert int.from_bytes(a.log.spans[-1].span_id, "big") == 10


async def test_a_payload_of_which_nothing_is_kept_is_accepted() -> None:
    """And is nothing in the log."""
    async with agent(TAEL_DD_AGENT_DROP_REJECTED="on") as a:
        assert await a.send(V04, as_msgpack([[raw_span(metrics={"_sampling_priority_v1": -1})]])) == (200, ACCEPTED)
        assert a.log.appended == []


async def test_spans_without_ids_are_left_out_alone() -> None:
    async with agent() as a:
        assert await a.send(V04, as_msgpack([[raw_span(trace_id=0), raw_span(), raw_span(span_id=0)]])) == (200, ACCEPTED)
        assert len(a.log.spans) == 1


async def test_the_tracers_own_fields_become_resource_attributes() -> None:
    headers = {"Datadog-Meta-Lang": "python", "datadog-meta-tracer-version": "4.16.0", "Content-Encoding": "gzip"}
    async with agent() as a:
        assert await a.send(V04, gzip.compress(as_msgpack([[raw_span()]])), **headers) == (200, ACCEPTED)
        assert b"telemetry.sdk.language" in a.log.requests[0]
        assert b"4.16.0" in a.log.requests[0]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "words"),
    [
        (V04, b"\x91\x91", MSGPACK, 400, "the body ends within"),
        (V04, b"", MSGPACK, 400, "the body ends within"),
        (V04, b"[[", JSON, 400, "not JSON"),
        (V05, b"\x91\x90", MSGPACK, 400, "accepted: an array of two"),
        (V04, as_msgpack([[raw_span(span_links=[{"no": "ids"}])]]), MSGPACK, 400, "span_links"),
        (V05, as_json([]), JSON, 415, MSGPACK),
        (V04, as_msgpack([[raw_span(meta={"k": "x" * 9000})]]), MSGPACK, 413, "TAEL_MAX_REQUEST_BYTES"),
        (V05, msgpack.packb([["x" * 4000], [[[0] * 9 + [{0: 0}, {}, 0]] * 3]]), MSGPACK, 413, "TAEL_MAX_REQUEST_BYTES"),
        ("/v0.7/config", b"{}", JSON, 404, "path not found"),
        ("/profiling/v1/input", b"", None, 404, "path not found"),
        ("/evp_proxy/v4/api/v2/llmobs", b"", None, 404, "path not found"),
    ],
)
async def test_refused_requests_get_the_right_status(path: str, body: bytes, kind: str | None, status: int, words: str) -> None:
    async with agent(TAEL_MAX_REQUEST_BYTES="8KiB") as a:
        answer = await a.send(path, body, kind)
        assert answer[0] == status
        assert words in answer[1]["error"]
        assert await a.send(V04, as_msgpack([[raw_span()]])) == (200, ACCEPTED)


@pytest.mark.parametrize(("error", "status"), [(Overloaded("full", retry_after_seconds=3), 429), (Unavailable("away"), 503)])
async def test_retryable_refusals_carry_retry_after(error: Exception, status: int) -> None:
    async with agent(MemoryLog(error=error)) as a, a.http.put(f"http://{a.address}{V04}", data=as_msgpack([[raw_span()]])) as answer:
        assert answer.status == status
        assert int(answer.headers["Retry-After"]) >= 1


async def test_info_tells_a_tracer_to_send_everything() -> None:
    async with agent() as a, a.http.get(f"http://{a.address}/info") as answer:
        info = await answer.json()
    assert info["endpoints"] == [V03, V04, V05]
    assert not info["client_drop_p0s"]
    assert info["span_events"]
    assert info["span_meta_structs"]


@pytest.mark.parametrize("path", ["/v0.6/stats", "/telemetry/proxy/api/v2/apmtelemetry"])
async def test_statistics_and_telemetry_are_accepted_and_dropped(path: str) -> None:
    async with agent() as a:
        assert await a.send(path, b"\x80" * 100_000, method="POST") == (200, {})
        assert a.log.appended == []


async def test_a_large_payload_is_converted_in_a_thread() -> None:
    """In a thread; order and content stay."""
    traces = [[raw_span(trace_id=1 + number, meta={"n": str(number)})] for number in range(2000)]
    async with agent() as a:
        assert await a.send(V04, as_msgpack(traces)) == (200, ACCEPTED)
        assert [int.from_bytes(span.trace_id, "big") for span in a.log.spans] == list(range(1, 2001))


async def test_the_service_starts_without_datadogs_port_if_it_is_in_use_or_off(capsys: pytest.CaptureFixture[str]) -> None:
    """The first with a warning."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for value in (f"127.0.0.1:{port}", "off"):
            settings = receiver_settings(TAEL_DD_AGENT_ADDR=value)
            async with datadog.serve(settings, Pipeline(MemoryLog(), Router(1), settings, registry=CollectorRegistry())) as address:
                assert address is None
    assert capsys.readouterr().out.count("TAEL_DD_AGENT_ADDR") == 1


async def test_the_listener_ends_with_the_block() -> None:
    async with agent() as a:
        address = a.address
    assert refused(address)
