"""Concatenating encoded spans gives the same as ``encode_spans``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from tael.model.span import Resource, Scope, Span
from tael.otlp.assemble import resource_spans, resource_spans_json
from tael.otlp.encode import encode_span, encode_spans


def span(number: int, resource: Resource, scope: Scope) -> Span:
    return Span(
        b"t" * 16, number.to_bytes(8, "big"), b"", f"span {number}", 2, number, number + 1, resource, scope, attributes={"a": "x" * number}
    )


def spans() -> Sequence[Span]:
    """Spans of two resources that differ only in a type, one of them twice, and three scopes; some longer than a one-byte length."""
    one, same, other, nothing = Resource({"n": 1}), Resource({"n": 1}), Resource({"n": True}, 2, "https://r"), Resource()
    plain, named = Scope(), Scope("lib", "1", {"k": None}, 1, "https://s")
    under = [(one, plain), (other, named), (same, plain), (one, named), (nothing, plain), (other, named)]
    return [span(100 * number + 1, *pair) for number, pair in enumerate(under)]


def test_protobuf() -> None:
    made = resource_spans((encode_span(one).SerializeToString(), one.resource, one.scope) for one in spans())
    assert [ResourceSpans.FromString(group) for group in made] == encode_spans(spans())


def test_json() -> None:
    made = resource_spans_json((json.dumps(MessageToDict(encode_span(one))).encode(), one.resource, one.scope) for one in spans())
    assert [json.loads(group) for group in made] == [MessageToDict(group) for group in encode_spans(spans())]


def test_no_spans() -> None:
    assert resource_spans([]) == resource_spans_json([]) == []
