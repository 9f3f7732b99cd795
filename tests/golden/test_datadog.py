"""What Datadog's spans become in OTLP, written out: tests/golden/datadog/*.json holds the spans and the request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tael.datadog import wire
from tael.datadog.translate import origin_of, translate
from tael.otlp.json import encode_json
from tests.support.datadog import RawTraces, as_json, as_msgpack, as_v05

_FOLDER = Path(__file__).with_name("datadog")
CASES = sorted(path.name.removesuffix(".spans.json") for path in _FOLDER.glob("*.spans.json"))
ORIGIN = origin_of(
    {
        "Datadog-Meta-Lang": ".NET",
        "Datadog-Meta-Lang-Version": "9.0",
        "Datadog-Meta-Lang-Interpreter": "CoreCLR",
        "Datadog-Meta-Tracer-Version": "3.1",
        "Datadog-Container-ID": "c0ffee",
    }
)


def spans(case: str) -> RawTraces:
    traces: RawTraces = json.loads((_FOLDER / f"{case}.spans.json").read_text())
    return traces


def expected(case: str) -> Any:
    return json.loads((_FOLDER / f"{case}.otlp.json").read_text())


def as_otlp(traces: Any) -> Any:
    return encode_json(translate(traces, ORIGIN, limit_bytes=1 << 20, variable="LIMIT"))


@pytest.mark.parametrize("case", CASES)
def test_a_map_of_msgpack_or_json_becomes_this_request(case: str) -> None:
    assert as_otlp(wire.read_msgpack(as_msgpack(spans(case)))) == expected(case)
    assert as_otlp(wire.read_json(as_json(spans(case)))) == expected(case)


@pytest.mark.parametrize("case", [case for case in CASES if "native" not in case])
def test_string_table_version(case: str) -> None:
    assert as_otlp(wire.read_v05(as_v05(spans(case)))) == expected(case)


def test_structured_values_are_decoded_and_unreadable_ones_stay_bytes() -> None:
    """``meta_struct`` holds msgpack within msgpack."""
    (trace,) = spans("minimal")
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    structs = {"appsec": msgpack.packb({"triggers": [1, "x", None, 0.5, True]}), "broken": b"\xc1", "deep": msgpack.packb(deep)}
    request = as_otlp(wire.read_msgpack(as_msgpack([[{**trace[0], "meta_struct": structs}]])))
    attributes = {a["key"]: a["value"] for a in request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]}
    (entry,) = attributes["appsec"]["kvlistValue"]["values"]
    values = entry["value"]["arrayValue"]["values"]
    assert values == [{"intValue": "1"}, {"stringValue": "x"}, {}, {"doubleValue": 0.5}, {"boolValue": True}]
    assert set(attributes["broken"]) == set(attributes["deep"]) == {"bytesValue"}
