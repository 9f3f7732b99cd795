"""Spans that are encoded already put together to OTLP messages, without decoding them; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from tael.model.span import Resource, Scope
from tael.otlp.encode import encode_resource, encode_scope

Encoded: TypeAlias = tuple[bytes, Resource, Scope]
"""A span, and what it came under. An origin that repeats SHOULD be the same object: it is encoded once for each."""
_SPANS_TAG = b"\x12"  # ScopeSpans.spans = 2
_SCOPES_TAG = b"\x12"  # ResourceSpans.scope_spans = 2


def resource_spans(spans: Iterable[Encoded]) -> list[bytes]:
    """``ResourceSpans`` messages of spans in protobuf, grouped and ordered as ``encode_spans`` does it."""
    return [
        resource
        + b"".join(_framed(_SCOPES_TAG, scope + b"".join(_framed(_SPANS_TAG, body) for body in bodies)) for scope, bodies in scopes)
        for resource, scopes in _grouped(spans)
    ]


def resource_spans_json(spans: Iterable[Encoded]) -> list[bytes]:
    """The same of spans in protobuf's JSON."""
    return [
        _with(_json(ResourceSpans.FromString(resource)), b"scopeSpans", (_scope_json(*scoped) for scoped in scopes))
        for resource, scopes in _grouped(spans)
    ]


def _scope_json(scope: bytes, bodies: list[bytes]) -> bytes:
    return _with(_json(ScopeSpans.FromString(scope)), b"spans", bodies)


def _json(message: ResourceSpans | ScopeSpans) -> bytes:
    return json.dumps(MessageToDict(message), ensure_ascii=False, separators=(",", ":")).encode()


def _with(fields: bytes, name: bytes, items: Iterable[bytes]) -> bytes:
    """A JSON object with one more field, an array; a resource and a scope are there whenever they are encoded, so there is a field before it."""
    return b"".join((fields[:-1], b',"', name, b'":[', b",".join(items), b"]}"))


def _grouped(spans: Iterable[Encoded]) -> Iterator[tuple[bytes, Iterable[tuple[bytes, list[bytes]]]]]:
    """Each resource, encoded, with each scope under it, encoded, and the spans under that."""
    known: dict[tuple[int, int], list[bytes]] = {}
    groups: dict[bytes, dict[bytes, list[bytes]]] = {}
    for body, resource, scope in spans:
        # By identity, to encode an origin once and not once a span; the callers hold their origins, so that no id is used twice.
        into = known.get((id(resource), id(scope)))
        if into is None:
            group = groups.setdefault(encode_resource(resource).SerializeToString(), {})
            into = known[id(resource), id(scope)] = group.setdefault(encode_scope(scope).SerializeToString(), [])
        into.append(body)
    return ((resource, scopes.items()) for resource, scopes in groups.items())


def _framed(tag: bytes, message: bytes) -> bytes:
    number = len(message)
    octets = bytearray(tag)
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets) + message
