"""Converts a row of ``spans`` to a Span, pure. Strings arrive as bytes; bytes that are not UTF-8 become replacement characters."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from opentelemetry.proto.common.v1.common_pb2 import ArrayValue, KeyValueList

from tael.model.attributes import AttributeValue
from tael.model.span import Event, Link, LlmCall, Resource, Scope, Span
from tael.otlp.anyvalue import decode_array, decode_attributes
from tael.storage.clickhouse import llm

Row: TypeAlias = Sequence[Any]
_UINT64 = (1 << 64) - 1

MAPS = ("string", "int", "double", "bool", "other")
LLM_COLUMNS = tuple(name for name, _ in llm.COLUMNS)
RESOURCE_COLUMNS = (*(f"resource_{name}" for name in MAPS), "resource_dropped_attributes_count", "resource_schema_url")
SCOPE_COLUMNS = (
    "scope_name",
    "scope_version",
    "scope_string",
    "scope_other",
    "scope_dropped_attributes_count",
    "scope_schema_url",
)
COLUMNS = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "name",
    "kind",
    "toUnixTimestamp64Nano(start_time) AS start_ns",
    "duration_ns",
    "trace_state",
    "flags",
    "status_code",
    "status_message",
    "dropped_attributes_count",
    "dropped_events_count",
    "dropped_links_count",
    *(f"attributes_{name}" for name in MAPS),
    "arrayMap(t -> toUnixTimestamp64Nano(t), events.time) AS event_ns",
    "events.name",
    "events.attributes_string",
    "events.attributes_other",
    "events.dropped_attributes_count",
    "links.trace_id",
    "links.span_id",
    "links.trace_state",
    "links.attributes_string",
    "links.attributes_other",
    "links.dropped_attributes_count",
    "links.flags",
    *RESOURCE_COLUMNS,
    *SCOPE_COLUMNS,
    *LLM_COLUMNS,
)
"""The columns of a row, in the order in which ``span`` reads them."""


def span(row: Row) -> Span:
    """The span of a row selected with ``COLUMNS``."""
    value = iter(row)
    trace_id, span_id, parent_span_id = bytes(next(value)), bytes(next(value)), bytes(next(value))
    name, kind = text(next(value)), int(next(value))
    # OTLP's times are unsigned and the columns signed, so both times are taken modulo 2^64.
    start_ns = int(next(value)) & _UINT64
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent_span_id,
        name=name,
        kind=kind,
        start_ns=start_ns,
        end_ns=start_ns + int(next(value)) & _UINT64,
        trace_state=text(next(value)),
        flags=next(value),
        status_code=next(value),
        status_message=text(next(value)),
        dropped_attributes_count=next(value),
        dropped_events_count=next(value),
        dropped_links_count=next(value),
        attributes=attributes(value, len(MAPS)),
        events=_events(value),
        links=_links(value),
        resource=resource(value),
        scope=scope(value),
        llm=_llm(value),
    )


def resource(value: Iterator[Any]) -> Resource:
    """Read a resource from the next RESOURCE_COLUMNS."""
    return Resource(attributes(value, len(MAPS)), next(value), text(next(value)))


def scope(value: Iterator[Any]) -> Scope:
    """Read a scope from the next SCOPE_COLUMNS."""
    name, version = text(next(value)), text(next(value))
    return Scope(name, version, attributes(value, 2), next(value), text(next(value)))


def _events(value: Iterator[Any]) -> tuple[Event, ...]:
    columns = [next(value) for _ in range(5)]
    return tuple(
        Event(time & _UINT64, text(name), merge_maps((strings, other)), dropped)
        for time, name, strings, other, dropped in zip(*columns, strict=True)
    )


def _links(value: Iterator[Any]) -> tuple[Link, ...]:
    columns = [next(value) for _ in range(7)]
    return tuple(
        Link(bytes(trace_id), bytes(span_id), text(state), merge_maps((strings, other)), dropped, flags)
        for trace_id, span_id, state, strings, other, dropped, flags in zip(*columns, strict=True)
    )


def _llm(value: Iterator[Any]) -> LlmCall | None:
    members: list[Any] = [text(item) if isinstance(item, bytes | str) else item for item in (next(value) for _ in LLM_COLUMNS)]
    call = LlmCall(*members)
    return call if call.operation else None


def call(trace_id: bytes, row: Row) -> Span:
    """The span of an LLM call with only its ids, times and call, from span id, parent, start, duration and LLM_COLUMNS."""
    value = iter(row)
    span_id, parent_span_id = bytes(next(value)), bytes(next(value))
    start_ns = int(next(value)) & _UINT64
    end_ns = start_ns + int(next(value)) & _UINT64
    return Span(trace_id, span_id, parent_span_id, "", 0, start_ns, end_ns, Resource(), Scope(), llm=_llm(value))


def bare(trace_id: bytes, number: int, parent: int) -> Span:
    """A span with nothing but its ids, given as big-endian numbers; ``parent`` is 0 for none."""
    parent_span_id = parent.to_bytes(8, "big") if parent else b""
    return Span(trace_id, number.to_bytes(8, "big"), parent_span_id, "", 0, 0, 0, Resource(), Scope())


def attributes(value: Iterator[Any], maps: int) -> dict[str, AttributeValue]:
    """Read attributes from the next ``maps`` columns."""
    return merge_maps([next(value) for _ in range(maps)])


def merge_maps(maps: Iterable[Mapping[bytes, Any]]) -> dict[str, AttributeValue]:
    """All attributes of several maps by type; the values of the last map are encoded as flatten.py describes."""
    *plain, other = maps
    merged: dict[str, AttributeValue] = {}
    for typed in plain:
        for key, item in typed.items():
            merged[text(key)] = text(item) if isinstance(item, bytes) else item
    for key, item in other.items():
        merged[text(key)] = other_value(text(item))
    return merged


def other_value(encoded: str) -> AttributeValue:
    """Decode a value of the map of other values, a letter and text (flatten.py)."""
    letter, rest = encoded[:1], encoded[1:]
    return DECODERS[letter](rest)


DECODERS: dict[str, Callable[[str], AttributeValue]] = {
    "n": lambda _: None,
    "i": int,
    "d": float,
    "t": lambda _: True,
    "f": lambda _: False,
    "b": base64.b64decode,
    "a": lambda rest: decode_array(ArrayValue.FromString(base64.b64decode(rest))),
    "k": lambda rest: decode_attributes(KeyValueList.FromString(base64.b64decode(rest)).values),
}
"""The decoder of a value of the map of other values, by its letter (docs/formats.md)."""


def text(value: bytes | str) -> str:
    """A string from ClickHouse as text."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
