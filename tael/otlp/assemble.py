"""Spans that are encoded already put together to OTLP messages, without decoding them; pure."""

from __future__ import annotations

from collections.abc import Iterable

from tael.model.span import Resource, Scope
from tael.otlp.encode import encode_resource, encode_scope

_SPANS_TAG = b"\x12"  # ScopeSpans.spans = 2
_SCOPES_TAG = b"\x12"  # ResourceSpans.scope_spans = 2


def resource_spans(spans: Iterable[tuple[bytes, Resource, Scope]]) -> list[bytes]:
    """``ResourceSpans`` messages of encoded spans, grouped and ordered as ``encode_spans`` does it.

    An origin that repeats SHOULD be the same object: it is encoded once for each.
    """
    encoded: dict[tuple[int, int], list[bytes]] = {}
    groups: dict[bytes, dict[bytes, list[bytes]]] = {}
    for body, resource, scope in spans:
        into = encoded.get((id(resource), id(scope)))
        if into is None:
            group = groups.setdefault(encode_resource(resource).SerializeToString(), {})
            into = group.setdefault(encode_scope(scope).SerializeToString(), [])
            encoded[id(resource), id(scope)] = into
        into += (_SPANS_TAG, _varint(len(body)), body)
    return [
        resource + b"".join(_framed(scope + b"".join(bodies)) for scope, bodies in scopes.items()) for resource, scopes in groups.items()
    ]


def _framed(scope_spans: bytes) -> bytes:
    return b"".join((_SCOPES_TAG, _varint(len(scope_spans)), scope_spans))


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    octets = bytearray()
    while number >= 0x80:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)
