"""Whose a request is, over every way in and every way out: tokens, scopes, and rows that another tenant never sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status
from prometheus_client import CollectorRegistry

from services.ingest.pipeline import Pipeline
from services.ingest.receivers import datadog
from tael.auth import ADMIN, INGEST, QUERY
from tael.cluster.shard import Router
from tael.wal import codec
from tests.support.doubles import MemorySpans
from tests.support.hotnode import HotNode
from tests.support.otlp import MemoryLog, Receivers, call, receiver_settings, receiving, request_of
from tests.support.query import serving
from tests.support.storage import new_trace_id, of_service, open_tier, wire_span

WRITES, READS, RULES = (f"{name}-token-0123456789" for name in ("write", "read", "root"))
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
def tokens_file(tmp_path: Path) -> str:
    file = tmp_path / "tokens"
    file.write_text(f"{WRITES} shop {INGEST}\n{READS} shop {QUERY}\n{RULES} * {INGEST},{QUERY},{ADMIN}\n")
    return str(file)


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}


def tenants(log: MemoryLog) -> list[str]:
    return [record.tenant for *_, body, _ in log.appended for record in codec.decode(body)]


async def post(receivers: Receivers, headers: Mapping[str, str]) -> tuple[int, Status, Mapping[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(receivers.url, data=request_of(1).SerializeToString(), headers={**PROTOBUF, **headers}) as answer,
    ):
        body = await answer.read()
        return answer.status, Status.FromString(body) if answer.status >= 400 else Status(), answer.headers


async def export(receivers: Receivers, headers: Mapping[str, str]) -> tuple[grpc.StatusCode, Status | None]:
    metadata = tuple((name.lower(), value) for name, value in headers.items())
    answer = await call(receivers.grpc, request_of(1).SerializeToString(), metadata=metadata)
    return answer.code, answer.status


async def test_without_tokens_both_transports_believe_the_header() -> None:
    async with receiving() as receivers:
        assert (await post(receivers, {"X-Scope-OrgID": "acme"}))[0] == 200
        assert (await export(receivers, {"X-Scope-OrgID": "acme"}))[0] is grpc.StatusCode.OK
        assert (await post(receivers, {}))[0] == 200
        assert (await export(receivers, {}))[0] is grpc.StatusCode.OK
        assert tenants(receivers.log) == ["acme", "acme", "default", "default"]


async def test_no_tenants_name_is_a_bad_request() -> None:
    async with receiving() as receivers:
        for name in ("a/b", "a|b"):
            status, body, _ = await post(receivers, {"X-Scope-OrgID": name})
            assert (status, body.code) == (400, code_pb2.INVALID_ARGUMENT)
            assert (await export(receivers, {"X-Scope-OrgID": name}))[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert tenants(receivers.log) == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, code_pb2.UNAUTHENTICATED),
        (bearer("nobody"), 401, code_pb2.UNAUTHENTICATED),
        (bearer(READS), 403, code_pb2.PERMISSION_DENIED),
        (bearer(WRITES, X_Scope_OrgID="bank"), 403, code_pb2.PERMISSION_DENIED),
    ],
)
async def test_refusals_are_statuses_that_clients_do_not_retry(tokens_file: str, headers: dict[str, str], status: int, code: int) -> None:
    async with receiving(TAEL_TOKENS_FILE=tokens_file) as receivers:
        answered, body, answer_headers = await post(receivers, headers)
        assert (answered, body.code) == (status, code)
        assert ("WWW-Authenticate" in answer_headers) == (status == 401)
        assert "Retry-After" not in answer_headers
        answered_code, details = await export(receivers, headers)
        assert answered_code.value[0] == code
        assert details is not None
        assert details.code == code
        assert tenants(receivers.log) == []


async def test_a_token_determines_the_tenant(tokens_file: str) -> None:
    async with receiving(TAEL_TOKENS_FILE=tokens_file) as receivers:
        for headers in (bearer(WRITES), bearer(WRITES, X_Scope_OrgID="shop"), bearer(RULES, X_Scope_OrgID="bank")):
            assert (await post(receivers, headers))[0] == 200
            assert (await export(receivers, headers))[0] is grpc.StatusCode.OK
        assert tenants(receivers.log) == ["shop"] * 4 + ["bank"] * 2


@pytest.mark.parametrize("path", ["/api/v1/services", "/tempo/api/echo", "/metrics", "/internal/cluster", "/nowhere", "/%6detrics"])
async def test_queries_want_a_token_and_health_does_not(tokens_file: str, path: str) -> None:
    async with serving(MemorySpans(), TAEL_TOKENS_FILE=tokens_file) as api:
        assert (await api.get("/healthz")).status == 200
        assert (await api.get("/readyz")).status == 200
        assert (await api.get(path)).status == 401
        assert (await api.get(path, headers=bearer(WRITES))).status == 403
        allowed = await api.get(path, headers=bearer(RULES))
        assert allowed.status == (404 if path == "/nowhere" else 200)


async def test_the_process_and_the_cluster_are_for_admins(tokens_file: str) -> None:
    async with serving(MemorySpans(), TAEL_TOKENS_FILE=tokens_file) as api:
        assert (await api.get("/api/v1/services", headers=bearer(READS))).status == 200
        assert (await api.get("/tempo/api/echo", headers=bearer(READS))).status == 200
        assert (await api.get("/metrics", headers=bearer(READS))).status == 403
        assert (await api.get("/internal/cluster", headers=bearer(READS))).status == 403


async def test_refusals_have_the_shape_of_their_family(tokens_file: str) -> None:
    async with serving(MemorySpans(), TAEL_TOKENS_FILE=tokens_file) as api:
        native, tempo = await api.get("/api/v1/services"), await api.get("/tempo/api/echo")
        assert "Bearer" in native.json()["error"]
        assert tempo.headers["Content-Type"].startswith("text/plain")
        assert tempo.headers["WWW-Authenticate"].startswith("Bearer")
        several = await api.get("/api/v1/services", headers=bearer(RULES, X_Scope_OrgID="a|b"))
        assert (several.status, "more than one tenant" in several.json()["error"]) == (400, True)


async def test_the_same_ids_of_two_tenants_are_two_traces(shared_hot_node: HotNode, second_hot_node: HotNode) -> None:
    """Every read of spans, as both tenants and as a third that has nothing."""
    trace_id, span_id = new_trace_id(), b"\1" * 8
    async with open_tier([shared_hot_node, second_hot_node]) as tier, serving(tier.reader, tier) as api:
        for tenant in ("red", "blue"):
            span = wire_span(name=f"of {tenant}", trace_id=trace_id, span_id=span_id, attributes={"who": tenant})
            await tier.store(of_service(f"{tenant}-service", span), tenant=tenant)

        async def ask(path: str, tenant: str, **parameters: Any) -> Any:
            answer = await api.get(path, headers={"X-Scope-OrgID": tenant}, **parameters)
            return answer.status, answer.json() if answer.status == 200 else None

        for tenant, other in (("red", "blue"), ("blue", "red")):
            everything = {"start": "2020-01-01T00:00:00Z", "end": "2030-01-01T00:00:00Z"}
            _, found = await ask("/api/v1/traces", tenant, **everything)
            assert [span["operation"] for span in found["spans"]] == [f"of {tenant}"]
            _, none = await ask("/api/v1/traces", tenant, service=f"{other}-service", **everything)
            assert none["spans"] == []
            _, trace = await ask(f"/api/v1/traces/{trace_id.hex()}", tenant)
            assert [span["operation"] for span in trace["spans"]] == [f"of {tenant}"]
            _, services = await ask("/api/v1/services", tenant, **everything)
            assert [service["name"] for service in services["services"]] == [f"{tenant}-service"]
            for version in ("", "v2/"):
                _, tempo = await ask(f"/tempo/api/{version}traces/{trace_id.hex()}", tenant)
                assert f"of {tenant}" in str(tempo)
                assert f"of {other}" not in str(tempo)
        assert (await ask(f"/api/v1/traces/{trace_id.hex()}", "green"))[0] == 404
        assert (await ask(f"/tempo/api/traces/{trace_id.hex()}", "green"))[0] == 404


@pytest.mark.parametrize(("tenant", "status"), [("", 401), ("agents", 200)])
async def test_datadog_tracers_without_tokens_belong_to_the_configured_tenant(tokens_file: str, tenant: str, status: int) -> None:
    settings = receiver_settings(TAEL_TOKENS_FILE=tokens_file, TAEL_DD_AGENT_TENANT=tenant, TAEL_DD_AGENT_ADDR="127.0.0.1:0")
    log = MemoryLog()
    pipeline = Pipeline(log, Router(1), settings, registry=CollectorRegistry())
    span = {"trace_id": 1, "span_id": 2, "name": "web", "service": "shop", "resource": "/", "start": 1, "duration": 1}
    async with (
        datadog.serve(settings, pipeline) as address,
        aiohttp.ClientSession() as session,
        session.put(f"http://{address}/v0.4/traces", json=[[span]]) as answer,
    ):
        assert answer.status == status
    assert tenants(log) == ([tenant] if tenant else [])
