"""Assembles OTLP messages from spans that are already encoded, without decoding them; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from tael.model.span import Resource, Scope
from tael.otlp.encode import encode_resource, encode_scope

Encoded: TypeAlias = tuple[bytes, Resource, Scope]
"""An encoded span with its resource and scope. Equal resources and scopes SHOULD be the same object: each object is encoded once."""
_SPANS_TAG = b"\x12"  # ScopeSpans.spans = 2
_SCOPES_TAG = b"\x12"  # ResourceSpans.scope_spans = 2


def resource_spans(spans: Iterable[Encoded]) -> list[bytes]:
    """``ResourceSpans`` messages of spans encoded as protobuf, grouped and ordered as ``encode_spans`` does."""
    return [
        resource
        + b"".join(_framed(_SCOPES_TAG, scope + b"".join(_framed(_SPANS_TAG, body) for body in bodies)) for scope, bodies in scopes)
        for resource, scopes in _grouped(spans)
    ]


def resource_spans_json(spans: Iterable[Encoded]) -> list[bytes]:
    """``ResourceSpans`` messages of spans encoded as protobuf's JSON."""
    return [
        _with(_json(ResourceSpans.FromString(resource)), b"scopeSpans", (_scope_json(*scoped) for scoped in scopes))
        for resource, scopes in _grouped(spans)
    ]


def _scope_json(scope: bytes, bodies: list[bytes]) -> bytes:
    return _with(_json(ScopeSpans.FromString(scope)), b"spans", bodies)


def _json(message: ResourceSpans | ScopeSpans) -> bytes:
    return json.dumps(MessageToDict(message), ensure_ascii=False, separators=(",", ":")).encode()


def _with(fields: bytes, name: bytes, items: Iterable[bytes]) -> bytes:
    """The JSON object with an array as another field. It is never empty, as an encoded resource or scope is always present."""
    return b"".join((fields[:-1], b',"', name, b'":[', b",".join(items), b"]}"))


def _grouped(spans: Iterable[Encoded]) -> Iterator[tuple[bytes, Iterable[tuple[bytes, list[bytes]]]]]:
    """Each encoded resource with its encoded scopes and their spans."""
    known: dict[tuple[int, int], list[bytes]] = {}
    groups: dict[bytes, dict[bytes, list[bytes]]] = {}
    for body, resource, scope in spans:
        # By identity, so that a resource is encoded once rather than once per span. Callers keep the objects alive, so no id is reused.
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
