"""Translates Zipkin's v2 spans in JSON to an OTLP trace request (docs/formats.md, "Zipkin's spans").

    [{"traceId": "…", "id": "…", "parentId": "…", "name": "get", "kind": "CLIENT", "timestamp": µs, "duration": µs,
      "localEndpoint": {"serviceName": "…", "ipv4": "…", "port": 80}, "remoteEndpoint": {…},
      "annotations": [{"timestamp": µs, "value": "…"}], "tags": {"name": "value"}, "shared": true, "debug": true}, …]

Malformed spans are left out and counted.
"""

from __future__ import annotations

import re
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.errors import Rejected
from tael.model.attributes import AttributeValue
from tael.model.json_text import encodable
from tael.model.span import UNKNOWN_SERVICE, Event, Resource, Span
from tael.otlp.encode import encode_spans
from tael.otlp.json import load_json, weigh_json
from tael.otlp.tags import KINDS, lift
from tael.otlp.translated import Translated

_HEX = re.compile(r"[0-9a-fA-F]{1,32}")
_NS_PER_US, _PORT = 1000, "port"
# Start and duration are each below this, so that the end in nanoseconds fits into OTLP's 64 bits.
_MAX_US = (1 << 63) // _NS_PER_US
_RESOURCE_KEYS = {"ipv4": "host.ip", "ipv6": "host.ip", "port": "server.port"}
_REMOTE_KEYS = {"serviceName": "peer.service", "ipv4": "network.peer.address", "ipv6": "network.peer.address", "port": "network.peer.port"}


def read_spans(body: bytes, most: int) -> Translated[ExportTraceServiceRequest]:
    """The spans of a body; ``most`` limits its content. Raises Rejected or TooLarge."""
    weigh_json(body, most)
    found = load_json(body)
    if not isinstance(found, list):
        raise Rejected("the body is not an array", where="body", accepted="an array of Zipkin's v2 spans")
    translated, spans = Translated(ExportTraceServiceRequest()), list[Span]()
    for raw in found:
        with translated.tolerating():
            spans.append(_span(_object(raw, "a span")))
    translated.request.resource_spans.extend(encode_spans(spans))
    return translated


def _span(raw: dict[str, Any]) -> Span:
    tags: dict[str, AttributeValue] = {
        _text(name, "tags"): _text(value, "tags") for name, value in _object(raw.get("tags"), "tags").items()
    }
    local, remote = _object(raw.get("localEndpoint"), "localEndpoint"), _object(raw.get("remoteEndpoint"), "remoteEndpoint")
    lifted = lift(tags)
    start_us = _microseconds(raw.get("timestamp"), "timestamp")
    if not start_us:
        raise Rejected("a span has no timestamp", where="timestamp", accepted="microseconds since the epoch")
    duration_us = _microseconds(raw.get("duration"), "duration")
    return Span(
        trace_id=_id(raw.get("traceId"), "traceId", 16),
        span_id=_id(raw.get("id"), "id", 8),
        parent_span_id=_id(raw["parentId"], "parentId", 8) if raw.get("parentId") else b"",
        name=_text(raw.get("name"), "name"),
        kind=KINDS.get(_text(raw.get("kind"), "kind").lower(), lifted.kind),
        start_ns=start_us * _NS_PER_US,
        end_ns=(start_us + duration_us) * _NS_PER_US,
        resource=Resource(
            {"service.name": _text(local.get("serviceName"), "serviceName") or UNKNOWN_SERVICE, **_named(local, _RESOURCE_KEYS)}
        ),
        scope=lifted.scope,
        trace_state=lifted.trace_state,
        # A tag that the sender set takes precedence over an attribute derived from the endpoint.
        attributes={**_named(remote, _REMOTE_KEYS), **tags, **_flags(raw)},
        events=tuple(_event(_object(note, "an annotation")) for note in _list(raw.get("annotations"), "annotations")),
        status_code=lifted.status_code,
        status_message=lifted.status_message,
    )


def _event(note: dict[str, Any]) -> Event:
    return Event(_microseconds(note.get("timestamp"), "an annotation's timestamp") * _NS_PER_US, _text(note.get("value"), "an annotation"))


def _flags(raw: dict[str, Any]) -> dict[str, AttributeValue]:
    """Attributes for flags without a field in OTLP: a server span that shares its client's id, and a forced sampling decision."""
    return {f"zipkin.{name}": True for name in ("shared", "debug") if raw.get(name) is True}


def _named(endpoint: dict[str, Any], keys: dict[str, str]) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    for key, name in keys.items():
        if value := _port(endpoint.get(key)) if key == _PORT else _text(endpoint.get(key), key):
            found[name] = value
    return found


def _port(value: Any) -> int:
    return value if type(value) is int and 0 < value < 1 << 16 else 0


def _id(value: Any, where: str, size: int) -> bytes:
    """An id; leading zeros may be missing."""
    if not isinstance(value, str) or not _HEX.fullmatch(value) or len(value) > 2 * size:
        raise Rejected("not a valid id", where=where, accepted=f"up to {2 * size} hexadecimal digits")
    return bytes.fromhex(value.rjust(2 * size, "0"))


def _microseconds(value: Any, where: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_US:
        raise Rejected("not a number of microseconds", where=where, accepted="a whole number from 0 on")
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Rejected("not an object", where=where)
    return value


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Rejected("not an array", where=where)
    return value


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Rejected("not a string", where=where)
    return encodable(value)
