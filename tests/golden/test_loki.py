"""What Loki's streams become in OTLP, written out: tests/golden/loki/*.json holds the push requests and the requests that they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tael.errors import Rejected
from tael.loki.labels import parse_labels
from tael.loki.push import read_json, read_protobuf
from tael.otlp.json import encode_json
from tests.support.loki import as_protobuf

_FOLDER = Path(__file__).with_name("loki")
CASES = sorted(path.name.removesuffix(".push.json") for path in _FOLDER.glob("*.push.json"))
MOST = 10_000


def pushed(case: str) -> Any:
    return json.loads((_FOLDER / f"{case}.push.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_streams_of_json_or_protobuf_become_this_request(case: str) -> None:
    expected = json.loads((_FOLDER / f"{case}.otlp.json").read_text())
    for found in (read_json(json.dumps(pushed(case)).encode(), MOST), read_protobuf(as_protobuf(pushed(case)), MOST)):
        assert encode_json(found.request) == expected["request"]
        assert dict(found.left_out) == expected["left_out"]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{a="b"}', {"a": "b"}),
        ('{ a = "b" , c="" }', {"a": "b", "c": ""}),
        (r'{a="\"\\\n\t\x41\u00e9\U0001F600\101"}', {"a": '"\\\n\tA\u00e9\U0001f600A'}),
        ("{a=`C:\\logs`, }", {"a": "C:\\logs"}),
        ('{service.name="x"}', {"service.name": "x"}),
        ("{}", {}),
    ],
)
def test_labels_are_read_as_go_writes_them(text: str, labels: dict[str, str]) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize("text", ["", "a", '{a="b"', "{a=b}", '{a="b" c="d"}', '{="b"}', '{a="\n"}', '{a="b"},'])
def test_an_invalid_label_set_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="cannot read the labels"):
        parse_labels(text)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "no list of streams"),
        (b'{"streams":5}', "no list of streams"),
        (b"{", "not JSON"),
    ],
)
def test_a_body_of_another_shape_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        read_json(body, MOST)


@pytest.mark.parametrize("entry", [[], ["1"], [1, "x"], ["1", 5], ["x", "y"], ["1", "x", []], ["1", "x", {"a": 5}], ["-1", "x"], {}, None])
def test_an_entry_that_cannot_be_read_costs_nothing_but_itself(entry: Any) -> None:
    body = {"streams": [{"stream": {"a": "b"}, "values": [entry, ["1790000000000000001", "kept"]]}]}
    found = read_json(json.dumps(body).encode(), MOST)
    (record,) = found.request.resource_logs[0].scope_logs[0].log_records
    assert (record.body.string_value, found.left_out.total()) == ("kept", 1)
