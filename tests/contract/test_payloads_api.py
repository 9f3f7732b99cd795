"""Payloads over HTTP: by their hash, in the place of references, and posted by hand."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValueList

from tael.model.payload import Reference
from tael.model.signals import PAYLOADS
from tael.otlp.anyvalue import encode_attributes
from tael.otlp.decode import decode_logs
from tests.support.doubles import MemoryPayloads, MemorySpans
from tests.support.hotnode import HotNode
from tests.support.logs import MemoryLogs
from tests.support.otlp import MemoryLog, eventually
from tests.support.query import Api, serving
from tests.support.storage import RECEIVED_NS, HotTier, logs_of, model_of, of_service, open_tier, wire_log, wire_span

PROMPT, TOOLS = b"be kind " * 100, KeyValueList(values=encode_attributes({"role": "user", "n": [1, 2.5]})).SerializeToString()
TRACE_ID = b"t" * 16


def reference(content: bytes, form: Any = "string") -> str:
    return str(Reference(hashlib.sha256(content).digest(), len(content), form, "be k"))


def spans() -> MemorySpans:
    attributes = {
        "gen_ai.request.model": "m",
        "gen_ai.input.messages": reference(PROMPT),
        "tools": reference(TOOLS, "map"),
        "lost": reference(b"gone"),
    }
    return MemorySpans(model_of([of_service("agent", wire_span(trace_id=TRACE_ID, attributes=attributes))]))


async def test_a_trace_has_its_payloads_in_place_and_a_list_has_references() -> None:
    async with serving(spans(), payloads=MemoryPayloads({"default": [PROMPT, TOOLS]})) as api:
        trace = await api.json(f"/api/v1/traces/{TRACE_ID.hex()}")
        (span,) = trace["spans"]
        assert span["attributes"]["gen_ai.input.messages"] == PROMPT.decode()
        assert span["attributes"]["tools"] == {"role": "user", "n": [1, 2.5]}
        assert (trace["unresolved_payloads"], span["attributes"]["lost"]) == (1, reference(b"gone"))
        short = await api.json(f"/api/v1/traces/{TRACE_ID.hex()}", payloads="reference")
        assert short["spans"][0]["attributes"]["gen_ai.input.messages"] == reference(PROMPT)
        assert "unresolved_payloads" not in short
        listed = await api.json("/api/v1/traces")
        assert listed["spans"][0]["attributes"]["tools"] == reference(TOOLS, "map")
        whole = await api.json("/api/v1/traces", payloads="inline")
        assert whole["spans"][0]["attributes"] == span["attributes"]
        assert (await api.error("/api/v1/traces", payloads="all"))[0] == 400
        for path in (f"/tempo/api/v2/traces/{TRACE_ID.hex()}", f"/jaeger/api/traces/{TRACE_ID.hex()}"):
            assert PROMPT in (await api.get(path)).body


async def test_log_records_have_references_or_values() -> None:
    record = wire_log(attributes={"note": reference(PROMPT)}, body=reference(TOOLS, "map"))
    logs = MemoryLogs(list(decode_logs([logs_of("agent", record)], RECEIVED_NS)))
    async with serving(spans(), logs=logs, payloads=MemoryPayloads({"default": [PROMPT, TOOLS]})) as api:
        (listed,) = (await api.json("/api/v1/logs"))["logs"]
        assert listed["attributes"]["note"] == reference(PROMPT)
        (whole,) = (await api.json("/api/v1/logs", payloads="inline"))["logs"]
        assert (whole["attributes"]["note"], whole["body"]) == (PROMPT.decode(), {"role": "user", "n": [1, 2.5]})


async def test_an_answer_takes_so_many_bytes_of_payloads() -> None:
    async with serving(spans(), payloads=MemoryPayloads({"default": [PROMPT, TOOLS]}), TAEL_MAX_INLINE_PAYLOAD_BYTES="100") as api:
        trace = await api.json(f"/api/v1/traces/{TRACE_ID.hex()}")
    assert trace["unresolved_payloads"] == 2
    assert trace["spans"][0]["attributes"]["gen_ai.input.messages"] == reference(PROMPT)
    assert trace["spans"][0]["attributes"]["tools"] == {"role": "user", "n": [1, 2.5]}


async def test_a_posted_payload_is_read_by_its_hash(shared_hot_node: HotNode) -> None:
    log, content = MemoryLog(), b"<html>" * 1_000
    async with (
        open_tier([shared_hot_node]) as tier,
        serving(tier.reader, tier, payloads=tier.payloads, appender=log, TAEL_POSTED_PAYLOAD_WAIT_SECS="30") as api,
    ):
        async with asyncio.TaskGroup() as group:
            posting = group.create_task(post(api, content))
            await eventually(lambda: bool(log.appended))
            assert not posting.done()
            await write_all(log, tier)
        sha256 = hashlib.sha256(content).hexdigest()
        assert posting.result() == (201, {"sha256": sha256, "size": 6_000})
        found = await api.get(f"/api/v1/blobs/{sha256.upper()}")
        assert (found.status, found.body, found.headers["Content-Type"]) == (200, content, "application/octet-stream")
        assert (await api.error("/api/v1/blobs/abc"))[0] == 400


@pytest.mark.parametrize("seconds", ["0", "0.01"])
async def test_a_posted_payload_that_cannot_be_read_yet_is_accepted(seconds: str) -> None:
    async with serving(spans(), payloads=MemoryPayloads({}), appender=MemoryLog(), TAEL_POSTED_PAYLOAD_WAIT_SECS=seconds) as api:
        status, posted = await post(api, b"abc")
        assert (status, posted["sha256"], posted["size"]) == (202, hashlib.sha256(b"abc").hexdigest(), 3)
        assert "cannot be read yet" in posted["warning"]


async def test_payloads_are_read_from_every_tier(any_tier: HotTier) -> None:
    """By their hash, and in the place of their references."""
    prompt, tools = await any_tier.store_payloads(PROMPT, TOOLS, tenant="default")
    attributes = {"gen_ai.input.messages": reference(PROMPT), "tools": reference(TOOLS, "map"), "lost": reference(b"gone")}
    await any_tier.store(of_service("agent", wire_span(trace_id=TRACE_ID, attributes=attributes), wire_span()), tenant="default")
    async with serving(any_tier.reader, any_tier, payloads=any_tier.payloads) as api:
        for sha256, content in ((prompt, PROMPT), (tools, TOOLS)):
            found = await api.get(f"/api/v1/blobs/{sha256.hex()}")
            assert (found.status, found.body) == (200, content)
        trace = await api.json(f"/api/v1/traces/{TRACE_ID.hex()}")
    read = trace["spans"][0]["attributes"]
    assert (read["gen_ai.input.messages"], read["tools"]) == (PROMPT.decode(), {"role": "user", "n": [1, 2.5]})
    assert (trace["unresolved_payloads"], read["lost"]) == (1, reference(b"gone"))


async def test_a_payload_of_another_tenant_is_not_found() -> None:
    async with serving(spans(), payloads=MemoryPayloads({"bank": [PROMPT]})) as api:
        assert (await api.error(f"/api/v1/blobs/{hashlib.sha256(PROMPT).hexdigest()}"))[0] == 404


async def test_a_posted_payload_may_be_so_large() -> None:
    async with (
        serving(spans(), TAEL_MAX_POSTED_PAYLOAD_BYTES="10") as api,
        api.session.post(f"{api.url}/api/v1/blobs", data=b"x" * 11) as answer,
    ):
        assert answer.status == 413
        assert "TAEL_MAX_POSTED_PAYLOAD_BYTES" in (await answer.json())["error"]


async def test_a_parameter_of_a_post_is_refused() -> None:
    async with serving(spans(), appender=MemoryLog()) as api, api.session.post(f"{api.url}/api/v1/blobs?tenant=bank", data=b"x") as answer:
        assert (answer.status, "tenant" in (await answer.json())["error"]) == (400, True)


async def post(api: Api, content: bytes) -> tuple[int, Any]:
    async with api.session.post(f"{api.url}/api/v1/blobs", data=content) as answer:
        return answer.status, await answer.json()


async def write_all(log: MemoryLog, tier: HotTier) -> None:
    for shard, signal, body, _ in log.appended:
        assert signal == PAYLOADS
        await tier.writers[shard].write(signal, body, hashlib.sha256(body).hexdigest())
