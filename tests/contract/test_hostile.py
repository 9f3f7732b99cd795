"""Hostile and odd senders: what a request may cost, what is told at the door, and what is held meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from services.ingest.pipeline import Pipeline
from services.ingest.receivers import datadog, otlp_grpc, otlp_http
from tael.cluster.shard import Router
from tael.model.signals import METRICS
from tael.otlp.signals import SIGNALS
from tael.runtime.config import Address
from tests.support.hostile import Attack, attacks, in_fields, repeated
from tests.support.otlp import MemoryLog, PeakMemory, call, receiver_settings, request_of, sample
from tests.support.remote_write import request_of as written

REJECTED = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}
CPU_SECONDS = 1.0
"""Of an attack of one MiB; it takes about a tenth of that on an idle core."""


@dataclass(frozen=True)
class Doors:
    """Receivers of every protocol, and the log behind them."""

    grpc: Address
    ports: dict[str, Address]
    log: MemoryLog
    pipeline: Pipeline

    async def send(self, attack: Attack) -> tuple[int, str]:
        """Status and text of the answer."""
        url = f"http://{self.ports[attack.port]}{attack.path}"
        async with aiohttp.ClientSession() as http, http.post(url, data=io.BytesIO(attack.body), headers=attack.headers) as answer:
            return answer.status, (await answer.read()).decode(errors="replace")

    async def post(self, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        return await self.send(Attack("", path, body, headers))


@contextlib.asynccontextmanager
async def doors(**changes: object) -> AsyncIterator[Doors]:
    log, settings = MemoryLog(), receiver_settings(TAEL_DD_AGENT_ADDR="127.0.0.1:0", **changes)
    pipeline = Pipeline(log, Router(1), settings, registry=CollectorRegistry())
    async with (
        otlp_grpc.serve(settings, pipeline) as grpc_address,
        otlp_http.serve(settings, pipeline) as http_address,
        datadog.serve(settings, pipeline) as datadog_address,
    ):
        assert datadog_address is not None
        yield Doors(grpc_address, {"otlp": http_address, "datadog": datadog_address}, log, pipeline)


@pytest.mark.parametrize("attack", list(attacks()), ids=lambda attack: attack.name)
async def test_small_requests_that_expand_are_cheap_to_refuse(attack: Attack) -> None:
    async with doors() as d:
        await d.send(Attack("", "/v1/traces", b"", {"Content-Type": "application/x-protobuf"}))  # what is loaded on first use is loaded
        before = time.process_time()
        with PeakMemory() as peak:
            status, text = await d.send(attack)
        assert time.process_time() - before < CPU_SECONDS
        assert peak.grown_bytes < 96 << 20
        assert 400 <= status < 500 or not d.log.appended, text
        assert d.pipeline.held_bytes == 0


async def test_the_refusal_names_the_setting_on_every_transport() -> None:
    body = repeated(b"\x0a\x00", 1 << 20)
    async with doors() as d:
        status, text = await d.post("/v1/traces", gzip.compress(body), **{"Content-Type": "application/json", "Content-Encoding": "gzip"})
        assert status == 400  # it is no JSON
        for content in (b'{"resourceSpans":[' + b"{}," * 100_000 + b"{}]}",):
            status, text = await d.post("/v1/traces", content, **{"Content-Type": "application/json"})
            assert (status, "TAEL_MAX_REQUEST_MESSAGES" in text) == (413, True)
        answer = await call(d.grpc, gzip.compress(body))
        assert "holds more than" in answer.message
        assert "TAEL_MAX_REQUEST_MESSAGES" in answer.message
        assert answer.status is not None
        assert not answer.status.details[1:]  # no RetryInfo: sending it again cannot succeed


async def test_the_number_of_messages_is_a_setting() -> None:
    body = request_of(2_000).SerializeToString()
    for most, status in ((1_500, 413), (3_000, 200)):
        async with doors(TAEL_MAX_REQUEST_MESSAGES=most) as d:
            assert (await d.post("/v1/traces", body, **{"Content-Type": "application/x-protobuf"}))[0] == status


async def test_dense_valid_requests_are_accepted() -> None:
    """Many small items, and one item with as many attributes as it may have."""
    request = request_of(1)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    for i in range(1_000):
        span.attributes.add(key=f"{i:x}").value.int_value = i
    for body, path in (
        (sample("logs", 20_000, marker="").SerializeToString(), "/v1/logs"),
        (sample("metrics", 20_000, marker="").SerializeToString(), "/v1/metrics"),
        (request.SerializeToString(), "/v1/traces"),
    ):
        async with doors() as d:
            status, text = await d.post(path, body, **{"Content-Type": "application/x-protobuf"})
            assert (status, text) == (200, "")


async def test_a_large_request_is_parsed_item_by_item() -> None:
    """Sixteen MiB that parse to twenty times as much, in items that are each within the limits."""
    span = request_of(1).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    item = in_fields(span + repeated(b"\x4a\x00", 1_500), 2)
    body = in_fields(in_fields(item * ((16 << 20) // len(item)), 2), 1)
    async with doors() as d:
        with PeakMemory() as peak:
            status, _ = await d.post(
                "/v1/traces", gzip.compress(body), **{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
            )
        assert status == 200
        assert peak.grown_bytes < 256 << 20


async def test_items_past_their_retention_are_refused_with_the_reason() -> None:
    old = str(time.time_ns() - 8 * 86_400 * 10**9)
    now = str(time.time_ns())
    ids = {"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "endTimeUnixNano": now}
    bodies = {
        "traces": {"resourceSpans": [{"scopeSpans": [{"spans": [{**ids, "startTimeUnixNano": t, "name": "n"} for t in (old, now)]}]}]},
        "logs": {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": t} for t in (old, now, "0")]}]}]},
        "metrics": {
            "resourceMetrics": [
                {
                    "scopeMetrics": [
                        {"metrics": [{"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": t, "asInt": 1} for t in (old, now)]}}]}
                    ]
                }
            ]
        },
    }
    async with doors(**{f"TAEL_{signal}_RETENTION_DAYS": 7 for signal in ("TRACE", "LOG", "METRIC")}) as d:
        for signal, body in bodies.items():
            for _ in range(2):  # the second time series are known, and are decoded in bulk
                status, text = await d.post(f"/v1/{signal}", json.dumps(body).encode(), **{"Content-Type": "application/json"})
                said = json.loads(text)["partialSuccess"]
                assert (status, said[REJECTED[signal]]) == (200, "1")
                assert "older than the retention" in said["errorMessage"]
    assert {signal for _, signal, _, _ in d.log.appended} == set(SIGNALS)


async def test_refusals_name_the_retention_of_a_tenant_of_its_own(tmp_path: Path) -> None:
    """What others may send is refused to it, and the reason names its entry."""
    (tmp_path / "limits").write_text('{"shop": {"retention_days": {"traces": 7, "logs": 7, "metrics": 7}}}')
    old = str(time.time_ns() - 8 * 86_400 * 10**9)
    span = {"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "startTimeUnixNano": old, "endTimeUnixNano": old, "name": "n"}
    gauge = {"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": old, "asInt": 1}]}}
    bodies = {
        "traces": {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]},
        "logs": {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": old}]}]}]},
        "metrics": {"resourceMetrics": [{"scopeMetrics": [{"metrics": [gauge]}]}]},
    }
    async with doors(TAEL_LIMITS_FILE=str(tmp_path / "limits")) as d:
        for signal, body in bodies.items():
            for tenant, refused in (("shop", True), ("bank", False)):
                headers = {"Content-Type": "application/json", "X-Scope-OrgID": tenant}
                status, text = await d.post(f"/v1/{signal}", json.dumps(body).encode(), **headers)
                reason = json.loads(text).get("partialSuccess", {}).get("errorMessage", "")
                assert status == 200
                assert (f"retention_days.{signal} of shop in TAEL_LIMITS_FILE" in reason) is refused


async def test_samples_of_the_future_are_refused_by_name_and_the_rest_is_stored() -> None:
    now_ms = time.time_ns() // 10**6
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    async with doors() as d:
        for _ in range(2):
            series = [((("__name__", f"m{ahead}"),), [(now_ms + ahead * 1000, 1.0)]) for ahead in (0, 300, 3600)]
            status, text = await d.post("/api/v1/write", written(series), **headers)
            assert (status, "1 of 3 data points rejected: its time is more than 600 s ahead (TAEL_REMOTE_WRITE_AHEAD_SECS)" in text) == (
                400,
                True,
            )
            assert "'m3600'" in text
    assert d.log.appended[0][1] == METRICS
