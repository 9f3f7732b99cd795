"""What Zipkin's and Jaeger's spans become in OTLP, written out beside them in tests/golden/zipkin and tests/golden/jaeger.

The batch is what Jaeger's own generated code for Python wrote.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tael.errors import Rejected
from tael.jaeger.batch import read_batch
from tael.otlp.json import encode_json
from tael.zipkin.v2 import read_spans

_HERE = Path(__file__).parent
MOST = 10_000


def batch() -> bytes:
    return bytes.fromhex((_HERE / "jaeger/batch.thrift.hex").read_text().replace("\n", ""))


def expected(name: str) -> Any:
    return json.loads((_HERE / f"{name}.otlp.json").read_text())


def test_zipkin_s_spans_become_this_request() -> None:
    found = read_spans((_HERE / "zipkin/spans.zipkin.json").read_bytes(), MOST)
    assert {"request": encode_json(found.request), "left_out": dict(found.left_out)} == expected("zipkin/spans")


def test_a_batch_of_jaeger_s_becomes_this_request() -> None:
    found = read_batch(batch(), MOST)
    assert {"request": encode_json(found.request), "left_out": dict(found.left_out)} == expected("jaeger/batch")


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"id": "1" * 17},
        {"timestamp": "1"},
        {"timestamp": -1},
        {"timestamp": 1 << 80},
        {"timestamp": True},
        {"duration": 0.5},
        {"tags": []},
        {"tags": {"a": 5}},
        {"localEndpoint": 5},
        {"localEndpoint": {"serviceName": 5}},
        {"annotations": {}},
        {"annotations": [5]},
        {"name": []},
        {"kind": 5},
        {"parentId": 5},
    ],
)
def test_a_span_of_zipkin_s_that_cannot_be_read_costs_nothing_but_itself(change: dict[str, Any]) -> None:
    good = {"traceId": "1", "id": "2", "timestamp": 1}
    found = read_spans(json.dumps([{**good, **change}, 5, good]).encode(), MOST)
    assert (len(found.request.resource_spans[0].scope_spans[0].spans), found.left_out.total()) == (1, 2)


def test_odd_ports_and_lone_surrogates_are_no_trouble() -> None:
    span = {"traceId": "1", "id": "2", "timestamp": 1, "localEndpoint": {"port": 1 << 70}, "tags": {"\ud800": "\ud800"}}
    (group,) = read_spans(json.dumps([span]).encode(), MOST).request.resource_spans
    assert [pair.key for pair in group.resource.attributes] == ["service.name"]


def test_every_prefix_of_a_batch_is_refused() -> None:
    whole = batch()
    for size in range(len(whole)):
        with pytest.raises(Rejected):
            read_batch(whole[:size], MOST)


def test_every_damaged_byte_is_read_or_refused() -> None:
    whole = batch()
    for at in range(len(whole)):
        for value in (0, 0x7F, 0xFF):
            damaged = whole[:at] + bytes([value]) + whole[at + 1 :]
            try:
                read_batch(damaged, MOST).request.SerializeToString()
            except Rejected:
                continue
