"""Our JSON is valid for any values."""

from __future__ import annotations

import json
import math
from types import MappingProxyType

import pytest

from services.query.api.jaeger.encode import as_json, tags
from tael.logql.records import text_of
from tael.model.json_text import from_text, to_bytes, to_text
from tael.runtime.http import json_response

ODD = {"a": [math.nan, {"b": -math.inf}], "c": (math.inf, 1.5, True, None)}
PLAIN = {"a": ["NaN", {"b": "-Infinity"}], "c": ["Infinity", 1.5, True, None]}


def test_numbers_that_json_lacks_are_texts() -> None:
    """At any depth; everything else is unchanged."""
    assert json.loads(to_text(ODD)) == PLAIN
    assert to_bytes({"é": 1}) == '{"é":1}'.encode()
    assert to_text({"b": 1, "a": math.nan}, sort_keys=True) == '{"a":"NaN","b":1}'
    body = json_response(ODD).body
    assert isinstance(body, bytes)
    assert json.loads(body) == PLAIN


def test_a_recursive_structure_is_refused() -> None:
    """Without an endless loop."""
    around: list[object] = []
    around.append(around)
    with pytest.raises((ValueError, RecursionError)):
        to_text(around)


def test_jaeger_and_loki_write_them_inside_texts_too() -> None:
    """A tag keeps its type, like a tag with an integer that JavaScript cannot represent."""
    assert tags({"x": math.nan, "y": 1.5}) == [
        {"key": "x", "type": "float64", "value": "NaN"},
        {"key": "y", "type": "float64", "value": 1.5},
    ]
    assert as_json([math.inf, b"x", MappingProxyType({"k": math.nan})]) == '["Infinity","eA==",{"k":"NaN"}]'
    assert text_of({"k": [math.nan, 2.0]}) == '{"k":["NaN",2]}'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'{"\ud83d": ["cut \ud83d", 1e999]}', {"\N{REPLACEMENT CHARACTER}": ["cut \N{REPLACEMENT CHARACTER}", math.inf]}),
        (r'"whole \ud83d\ude00"', "whole \N{GRINNING FACE}"),
        (r'"written \\ud83d"', r"written \ud83d"),
    ],
)
def test_half_a_surrogate_pair_is_replaced(text: str, value: object) -> None:
    """UTF-8 does not have it, so an answer with it could not be written."""
    assert from_text(text) == value
