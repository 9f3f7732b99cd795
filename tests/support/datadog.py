"""Bodies as Datadog's tracers send them: the same spans in each version of the protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgpack

V05_FIELDS = ("service", "name", "resource", "trace_id", "span_id", "parent_id", "start", "duration", "error", "meta", "metrics", "type")
RawSpan = dict[str, Any]
RawTraces = Sequence[Sequence[RawSpan]]


def raw_span(**changes: Any) -> RawSpan:
    """A small valid span, with ``changes``."""
    span = {"service": "shop", "name": "web.request", "resource": "GET /cart", "type": "web", "trace_id": 7, "span_id": 8, "parent_id": 0}
    times = {"start": 1_700_000_000_000_000_000, "duration": 5_000_000, "error": 0}
    return {**span, **times, "meta": {}, "metrics": {}, **changes}


def as_msgpack(traces: RawTraces) -> bytes:
    """A v0.3 or v0.4 body."""
    packed: bytes = msgpack.packb(traces, unicode_errors="surrogatepass")
    return packed


def as_json(traces: RawTraces) -> bytes:
    """A v0.3 or v0.4 body in JSON."""
    return json.dumps(traces).encode()


def as_v05(traces: RawTraces) -> bytes:
    """A v0.5 body, without what that version has no field for."""
    texts: dict[str, int] = {"": 0}

    def text(value: str) -> int:
        return texts.setdefault(value, len(texts))

    def field(span: RawSpan, name: str) -> Any:
        value = span[name]
        if name == "meta":
            return {text(key): text(item) for key, item in value.items()}
        if name == "metrics":
            return {text(key): item for key, item in value.items()}
        return text(value) if isinstance(value, str) else value

    rows = [[[field(span, name) for name in V05_FIELDS] for span in trace] for trace in traces]
    packed: bytes = msgpack.packb([list(texts), rows])
    return packed
