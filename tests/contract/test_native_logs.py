"""``GET /api/v1/logs`` and ``tael query logs``, over real hot nodes and over records in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.query.api.native.log_json import log_json
from tael.model.tenant import DEFAULT_TENANT
from tael.otlp.decode import decode_logs
from tests.contract.test_cli import tael
from tests.support.doubles import MemorySpans
from tests.support.hotnode import HotNode
from tests.support.logs import MemoryLogs
from tests.support.query import serving
from tests.support.storage import RECEIVED_NS, START_NS, HotTier, logs_of, new_trace_id, open_tier, wire_log

LOGS = "/api/v1/logs"


async def test_search_over_two_shards(shared_hot_node: HotNode, second_hot_node: HotNode) -> None:
    """Every filter, the shape of a record, and pages that hold every record once."""
    trace_id = new_trace_id()
    async with open_tier([shared_hot_node, second_hot_node]) as tier, serving(tier.reader, tier, logs=tier.logs) as api:
        failed = wire_log(
            3, "payment DECLINED", trace_id=trace_id, span_id=b"s" * 8, severity_number=18, attributes={"n": 1 << 62, "x": 5.0}
        )
        notes = [wire_log(i, f"note {i}", severity_number=9) for i in range(3)]
        written = await tier.store_logs(logs_of("shop", *notes, zone="eu"), logs_of("pay", failed), tenant=DEFAULT_TENANT)
        oldest_first = sorted(written, key=lambda record: record.timestamp_ns)
        answer = await api.json(LOGS)
        assert answer == {"logs": [log_json(r) for r in reversed(oldest_first)], "count": 4, "cursor": None, "partial": False}
        cases: list[tuple[dict[str, str], list[str]]] = [
            ({"service": "pay"}, ["payment DECLINED"]),
            ({"severity": "error"}, ["payment DECLINED"]),
            ({"severity": "fatal"}, []),
            ({"min_severity": "WARN"}, ["payment DECLINED"]),
            ({"min_severity": "info", "attribute": "zone=eu"}, ["note 2", "note 1", "note 0"]),
            ({"body_contains": "declined"}, ["payment DECLINED"]),
            ({"words": "NOTE 1"}, ["note 1"]),
            ({"words": "!?"}, []),
            ({"trace_id": trace_id.hex().upper()}, ["payment DECLINED"]),
            ({"span_id": (b"s" * 8).hex()}, ["payment DECLINED"]),
            ({"attribute": f"n={1 << 62}"}, ["payment DECLINED"]),
            ({"start": str(START_NS + 2)}, ["payment DECLINED", "note 2"]),
            ({"end": str(START_NS + 1)}, ["note 0"]),
            ({"limit": "1"}, ["payment DECLINED"]),
        ]
        for parameters, bodies in cases:
            assert [record["body"] for record in (await api.json(LOGS, *parameters.items()))["logs"]] == bodies, parameters
        await _pages(tier, api)


async def _pages(tier: HotTier, api: Any) -> None:
    await tier.store_logs(logs_of("many", *(wire_log(i // 5, i) for i in range(20))), tenant=DEFAULT_TENANT)
    bodies: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await api.json(LOGS, service="many", limit=7, cursor=cursor)
        bodies += [record["body"] for record in answer["logs"]]
        cursor = answer["cursor"]
    assert sorted(bodies) == list(range(20))


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"severity": "bad"}, "severity: 'bad' is not a known value (accepted: unspecified, trace, debug, info, warn, error, fatal)"),
        ({"span_id": "12"}, "span_id: '12' is not a span id (accepted: 16 hexadecimal digits)"),
        ({"span_id": "0" * 16}, "span_id: '0000000000000000' is not a span id"),
        ({"trace_id": "xyz"}, "trace_id: 'xyz' is not a trace id"),
        ({"body": "x"}, "body: unknown parameter"),
        ({"limit": "0"}, "limit: 0 is out of bounds"),
        ({"cursor": "x"}, "cursor: not a cursor (accepted: the cursor of the previous answer, unchanged)"),
    ],
)
async def test_a_bad_parameter_is_named(parameters: dict[str, str], text: str) -> None:
    async with serving(MemorySpans()) as api:
        status, error = await api.error(LOGS, *parameters.items())
    assert (status, error[: len(text)]) == (400, text)


async def test_the_command_prints_json_and_a_table() -> None:
    """A body of several lines is one line of the table, without its control characters; filters arrive."""
    wires = [
        wire_log(0, "first line\x1b[31m\nsecond", severity_number=13, trace_id=new_trace_id()),
        wire_log(1, {"event": "paid"}, severity_number=9),
    ]
    records = [replace(record, serial=i) for i, record in enumerate(decode_logs([logs_of("shop", *wires)], RECEIVED_NS))]
    async with serving(MemorySpans(), logs=MemoryLogs(records)) as api:
        as_json, table, filtered = await asyncio.gather(
            tael("--server", api.url, "query", "logs", "--limit", "5", "--full"),
            tael("--server", api.url, "--format", "table", "query", "logs", "--limit", "1"),
            tael("--server", api.url, "--format", "table", "query", "logs", "--min-severity", "warn", "--body-contains", "FIRST"),
        )
    assert as_json.json()["logs"] == [log_json(record) for record in reversed(records)]
    assert '{"event": "paid"}' in table.out
    assert "there is more: --cursor" in table.out
    header, row = filtered.out.splitlines()
    assert header.split() == ["TIME", "SERVICE", "LEVEL", "BODY", "TRACE"]
    assert row.split() == [
        "2026-09-21",
        "14:13:20.000",
        "shop",
        "warn",
        "first",
        "line\N{REPLACEMENT CHARACTER}[31m",
        records[0].trace_id.hex(),
    ]
