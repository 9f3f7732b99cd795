"""OTLP JSON: message to text and back is the same message, for all three signals and any value of any field."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from tael.errors import Rejected
from tael.otlp.json import decode_json, dump_json
from tael.otlp.signals import SIGNALS, Signal

_F = FieldDescriptor
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    _F.TYPE_STRING: st.text(st.characters(codec="utf-8"), max_size=8),
    _F.TYPE_BYTES: st.binary(max_size=17),
    _F.TYPE_BOOL: st.booleans(),
    _F.TYPE_DOUBLE: st.floats(),
    _F.TYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    _F.TYPE_SINT32: st.integers(-(1 << 31), (1 << 31) - 1),
    _F.TYPE_UINT32: st.integers(0, (1 << 32) - 1),
    _F.TYPE_FIXED32: st.integers(0, (1 << 32) - 1),
    _F.TYPE_ENUM: st.integers(0, 5),
    _F.TYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    _F.TYPE_SFIXED64: st.integers(-(1 << 63), (1 << 63) - 1),
    _F.TYPE_UINT64: st.integers(0, (1 << 64) - 1),
    _F.TYPE_FIXED64: st.integers(0, (1 << 64) - 1),
}


@cache
def _values(descriptor: Descriptor, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    """Constructor arguments for a message: any subset of its fields, at most one of a oneof."""
    fields = {f.name: _field(f, depth) for f in descriptor.fields if depth < 9 or f.type != _F.TYPE_MESSAGE}
    members = [{f.name for f in oneof.fields} for oneof in descriptor.oneofs if len(oneof.fields) > 1]

    def one_of_each(value: dict[str, Any]) -> dict[str, Any]:
        for names in members:
            for name in sorted(names & value.keys())[1:]:
                del value[name]
        return value

    return st.fixed_dictionaries({}, optional=fields).map(one_of_each)


def _field(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    one = st.deferred(lambda: _values(field.message_type, depth + 1)) if field.type == _F.TYPE_MESSAGE else _SCALARS[field.type]
    return st.lists(one, max_size=2) if field.is_repeated else one


def _messages(signal: Signal) -> st.SearchStrategy[Message]:
    return _values(signal.request.DESCRIPTOR, 0).map(lambda value: signal.request(**value))


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=list(SIGNALS))
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_message_to_json_to_message(signal: Signal, data: st.DataObject) -> None:
    message = data.draw(_messages(signal))
    back = decode_json(signal.request, dump_json(message))
    assert back.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@settings(max_examples=200)
@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3))
)
def test_a_value_of_any_other_shape_is_refused_or_read_and_never_crashes(value: Any) -> None:
    span = {"traceId": value, "startTimeUnixNano": value, "kind": value, "attributes": value, "links": [{"spanId": value}], "name": value}
    for key, item in span.items():
        text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{key: item}]}]}]}).encode()
        try:
            decode_json(SIGNALS["traces"].request, text)
        except Rejected as error:
            assert key in error.where or error.where == "body"  # noqa: PT017  # either outcome is right
