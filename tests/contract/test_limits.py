"""A tenant's limits as its clients meet them: delays that the bucket asks for, warnings, refusals by name; and nobody else's business."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.otlp.signals import SIGNALS
from tests.support.otlp import Receivers, call, receiving, request_of

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def limits_file(directory: Path, **tenants: dict[str, Any]) -> str:
    file = directory / "limits.json"
    file.write_text(json.dumps(tenants))
    return str(file)


async def send_metrics(receivers: Receivers, *users: str, tenant: str = "default") -> ExportMetricsServiceResponse:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="logins")
    for user in users:
        point = metric.gauge.data_points.add(time_unix_nano=1_790_000_000_000_000_000, as_double=1)
        point.attributes.add(key="user").value.string_value = user
    headers = {**PROTOBUF, "X-Scope-OrgID": tenant}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://{receivers.http}/v1/metrics", data=request.SerializeToString(), headers=headers) as answer,
    ):
        assert answer.status == 200
        return ExportMetricsServiceResponse.FromString(await answer.read())


async def test_a_throttled_tenant_is_told_how_long_to_wait_and_others_are_not_throttled(tmp_path: Path) -> None:
    file = limits_file(tmp_path, noisy={"items_per_second": 10, "burst_seconds": 1})
    async with receiving(TAEL_LIMITS_FILE=file) as receivers:
        noisy, quiet = (("x-scope-orgid", "noisy"),), (("x-scope-orgid", "quiet"),)
        assert (await call(receivers.grpc, request_of(60).SerializeToString(), metadata=noisy)).code is grpc.StatusCode.OK
        refused = await call(receivers.grpc, request_of(1).SerializeToString(), metadata=noisy)
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.message == "tenant noisy sends more than its items_per_second of 10"
        retry = RetryInfo()
        assert refused.status is not None
        assert refused.status.details[0].Unpack(retry)
        assert 4 < retry.retry_delay.ToTimedelta().total_seconds() <= 5.1
        async with (
            aiohttp.ClientSession() as session,
            session.post(receivers.url, data=b"", headers={**PROTOBUF, "X-Scope-OrgID": "noisy"}) as answer,
        ):
            assert answer.status == 429
            assert answer.headers["Retry-After"] in ("5", "6")
        assert (await call(receivers.grpc, request_of(60).SerializeToString(), metadata=quiet)).code is grpc.StatusCode.OK


async def test_series_are_warned_about_and_then_refused_by_name_while_known_ones_go_on() -> None:
    async with receiving(TAEL_MAX_ATTRIBUTE_VALUES="10") as receivers:
        quiet = await send_metrics(receivers, *map(str, range(7)))
        assert not quiet.HasField("partial_success")
        warned = await send_metrics(receivers, "7")
        assert warned.partial_success.rejected_data_points == 0
        assert "attribute user of metric logins has 8 of the 10 values" in warned.partial_success.error_message
        assert not (await send_metrics(receivers, "8", "9")).HasField("partial_success")
        refused = await send_metrics(receivers, "9", "10", "11")
        assert refused.partial_success.rejected_data_points == 2
        assert "attribute user of metric logins has 10 values in this hour" in refused.partial_success.error_message
        assert "TAEL_MAX_ATTRIBUTE_VALUES" in refused.partial_success.error_message
        assert not (await send_metrics(receivers, "10", tenant="other")).HasField("partial_success")


def request_with_keys(signal: str, numbers: range) -> Message:
    """An item for each number, which stands in the key of its attribute."""
    request = SIGNALS[signal].request()
    if isinstance(request, ExportTraceServiceRequest):
        spans = request.resource_spans.add().scope_spans.add().spans
        items: list[Any] = [
            spans.add(trace_id=b"t" * 16, span_id=n.to_bytes(8, "big"), start_time_unix_nano=1) for n in range(1, len(numbers) + 1)
        ]
    else:
        assert isinstance(request, ExportLogsServiceRequest)
        records = request.resource_logs.add().scope_logs.add().log_records
        items = [records.add(time_unix_nano=1) for _ in numbers]
    for number, item in zip(numbers, items, strict=True):
        item.attributes.add(key=f"user.{number}.visits").value.int_value = 1
    return request


async def told(receivers: Receivers, signal: str, numbers: range, tenant: str = "default") -> str:
    """What the answer to such a request says; nothing may be rejected."""
    headers = {**PROTOBUF, "X-Scope-OrgID": tenant}
    url, body = f"http://{receivers.http}/v1/{signal}", request_with_keys(signal, numbers).SerializeToString()
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        assert answer.status == 200
        said: Any = SIGNALS[signal].response.FromString(await answer.read())
    assert getattr(said.partial_success, SIGNALS[signal].rejected) == 0
    return str(said.partial_success.error_message)


@pytest.mark.parametrize(("signal", "other"), [("traces", "logs"), ("logs", "traces")])
async def test_ids_in_keys_are_warned_about_once_and_kept(signal: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the answer, with examples; nothing is said of the other signal or to another tenant, and every item is in the log."""
    monkeypatch.setattr("services.ingest.limits.keys._EVERY_SECONDS", 0)
    monkeypatch.setattr("services.ingest.limits.keys._EVERY_SECONDS_OF_ONE", 0)
    async with receiving(TAEL_MAX_ATTRIBUTE_KEYS="20") as receivers:
        assert await told(receivers, signal, range(20)) == ""
        assert await told(receivers, signal, range(10)) == ""
        warned = await told(receivers, signal, range(18, 23))
        assert f"the {SIGNALS[signal].items} of tenant default have more than 20 different attribute keys in this hour" in warned
        assert "'user.20.visits', 'user.21.visits', 'user.22.visits' among them" in warned
        assert await told(receivers, signal, range(30, 60)) == ""
        assert await told(receivers, signal, range(20), tenant="tidy") == ""
        assert await told(receivers, other, range(20)) == ""
        assert [items for *_, items in receivers.log.appended] == [20, 10, 5, 30, 20, 20]
