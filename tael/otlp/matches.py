"""Compiles a predicate to a test of one span or log record, for live filters and other code that has the item in memory; pure.

tael/model/predicate.py defines the meaning of predicates. An item is any object with the attributes of a Span or a LogRecord; attributes
that the predicate does not need are not read, so an item may be decoded lazily.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from tael.errors import Rejected
from tael.model import escaped
from tael.model.attributes import AttributeValue
from tael.model.patterns import searched
from tael.model.predicate import (
    And,
    Compare,
    Contains,
    Exists,
    Field,
    Kind,
    Listed,
    Not,
    Or,
    Predicate,
    Regex,
    Words,
    intrinsic,
    kind_of,
    relation,
    words_of,
)
from tael.model.time import signed_ns
from tael.otlp import genai
from tael.otlp.anyvalue import encode_value

Test: TypeAlias = "Callable[[Any], bool]"
Read: TypeAlias = "Callable[[Any], Iterable[AttributeValue]]"
"""The values of an item's field, none if it is missing."""
_TYPES: Final[dict[Kind, type]] = {"string": str, "bool": bool, "int": int, "double": float, "bytes": bytes}
_CONTENT: Final = intrinsic("llm_content")
_NAMES: Final[dict[type, Kind]] = {python_type: name for name, python_type in _TYPES.items()}


def span_test(predicate: Predicate) -> Test:
    """A test whether a span satisfies ``predicate``. Raises Rejected for an intrinsic field that spans do not have."""
    return _compiled(predicate, _SPAN)


def log_test(predicate: Predicate) -> Test:
    """A test whether a log record satisfies ``predicate``. Raises Rejected for an intrinsic field that log records do not have."""
    return _compiled(predicate, _LOG)


def _compiled(predicate: Predicate, intrinsics: Mapping[str, Read]) -> Test:
    if isinstance(predicate, And | Or):
        tests = [_compiled(part, intrinsics) for part in predicate.parts]
        if isinstance(predicate, And):
            return lambda item: all(test(item) for test in tests)
        return lambda item: any(test(item) for test in tests)
    if isinstance(predicate, Not):
        test = _compiled(predicate.part, intrinsics)
        return lambda item: not test(item)
    read, holds = _reader(predicate.field, intrinsics), _of_value(predicate)
    return lambda item: any(holds(value) for value in read(item))


def _of_value(leaf: Compare | Regex | Exists | Words | Contains | Listed) -> Callable[[AttributeValue], bool]:
    """A test whether a value satisfies the leaf."""
    if isinstance(leaf, Exists):
        return lambda _: True
    if isinstance(leaf, Listed):
        return lambda value: isinstance(value, list | tuple)
    if isinstance(leaf, Compare):
        wanted, related = _TYPES[kind_of(leaf.value)], relation(leaf)
        # By exact type: in Python True equals 1, but the hot tier keeps the two in different maps.
        return lambda value: type(value) is wanted and related(value)
    holds = _of_text(leaf)
    return lambda value: isinstance(value, str) and holds(value)


def _of_text(leaf: Regex | Words | Contains) -> Callable[[str], bool]:
    if isinstance(leaf, Regex):
        search = searched(leaf.pattern).search
        return lambda text: search(text) is not None
    if leaf.field == _CONTENT:
        return _of_content(leaf)
    if isinstance(leaf, Words):
        words = set(leaf.words)
        return lambda text: words.issubset(words_of(text))
    if leaf.ignore_case:
        part = leaf.text.lower()
        return lambda text: part in text.lower()
    return lambda text: leaf.text in text


def _of_content(leaf: Words | Contains) -> Callable[[str], bool]:
    """A test of a prompt or completion, most of which are JSON."""
    if isinstance(leaf, Words):
        return lambda text: escaped.has_words(text, leaf.words)
    return lambda text: escaped.contains(text, leaf.text) if leaf.ignore_case else leaf.text in text


def _reader(field: Field, intrinsics: Mapping[str, Read]) -> Read:
    if field.scope == "intrinsic":
        if field.key not in intrinsics:
            raise Rejected(f"{field.key!r} is not a field of these items", where="field", accepted=", ".join(sorted(intrinsics)))
        return intrinsics[field.key]
    tables, key = _TABLES[field.scope], field.key
    if field.scope == "any":
        # The item's own attribute hides the resource's of the same key.
        return lambda item: next(([table[key]] for table in tables(item) if key in table), [])
    return lambda item: [table[key] for table in tables(item) if key in table]


_TABLES: Final[dict[str, Callable[[Any], Sequence[Mapping[str, AttributeValue]]]]] = {
    "attribute": lambda item: (item.attributes,),
    "resource": lambda item: (item.resource.attributes,),
    "any": lambda item: (item.attributes, item.resource.attributes),
    "instrumentation": lambda item: (item.scope.attributes,),
    "event": lambda item: [event.attributes for event in item.events],
    "link": lambda item: [link.attributes for link in item.links],
}


def _always(read: Callable[[Any], AttributeValue]) -> Read:
    return lambda item: (read(item),)


def _set(read: Callable[[Any], AttributeValue]) -> Read:
    """A field that counts as missing if it is None or empty."""

    def values(item: Any) -> Iterable[AttributeValue]:
        value = read(item)
        return () if value in (None, "", b"") else (value,)

    return values


def _llm(name: str) -> Read:
    return _set(lambda span: getattr(span.llm, name) if span.llm else None)


def _llm_content(span: Any) -> Iterator[str]:
    """Every prompt and completion; structured ones in their encoded form, which contains their texts verbatim."""
    if span.llm is None:
        return
    for key, value in span.attributes.items():
        if genai.is_content(key) and not isinstance(value, bool | int | float):
            yield _encoded(value)
    for event in span.events:
        yield from (value for key, value in event.attributes.items() if genai.is_content_of(event.name, key) and isinstance(value, str))


def _encoded(value: AttributeValue) -> str:
    """A text unchanged; bytes, and the protobuf encoding of an array or map, decoded as text."""
    if isinstance(value, str):
        return value
    encoded = encode_value(value)
    member = encoded.WhichOneof("value")
    if member in ("array_value", "kvlist_value"):
        held: bytes = getattr(encoded, member).SerializeToString()
        return held.decode(errors="replace")
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _body(record: Any) -> Iterable[str]:
    body = record.body
    if body is None:
        return ()
    if isinstance(body, bool):
        return (str(body).lower(),)
    return (repr(body) if isinstance(body, int | float) else _encoded(body),)


def _body_type(record: Any) -> str:
    body = record.body
    if body is None:
        return "none"
    return _NAMES.get(type(body)) or ("map" if isinstance(body, Mapping) else "array")


# Differences of times wrap around at 64 bits and are read as signed, as the hot tier computes them.
_SPAN: Final[dict[str, Read]] = {
    "name": _always(lambda span: span.name),
    "service": _always(lambda span: span.service),
    "kind": _always(lambda span: span.kind),
    "status": _always(lambda span: span.status_code),
    "status_message": _always(lambda span: span.status_message),
    "duration": _always(lambda span: max(0, signed_ns((span.end_ns - span.start_ns) % (1 << 64)))),
    "start": _always(lambda span: signed_ns(span.start_ns)),
    "trace_id": _always(lambda span: span.trace_id),
    "span_id": _always(lambda span: span.span_id),
    "parent_span_id": _always(lambda span: span.parent_span_id),
    "trace_state": _always(lambda span: span.trace_state),
    "scope_name": _always(lambda span: span.scope.name),
    "scope_version": _always(lambda span: span.scope.version),
    "event_name": lambda span: [event.name for event in span.events],
    "event_time_since_start": lambda span: [signed_ns((event.time_ns - span.start_ns) % (1 << 64)) for event in span.events],
    "link_trace_id": lambda span: [link.trace_id for link in span.links],
    "link_span_id": lambda span: [link.span_id for link in span.links],
    "llm_provider": _llm("provider"),
    "llm_model": _llm("model"),
    "llm_operation": _llm("operation"),
    "llm_input_tokens": _llm("input_tokens"),
    "llm_output_tokens": _llm("output_tokens"),
    "llm_total_tokens": _llm("total_tokens"),
    "llm_cost_usd": _llm("cost_usd"),
    "llm_ttft_ms": _llm("ttft_ms"),
    "llm_finish_reason": _llm("finish_reason"),
    "llm_temperature": _llm("temperature"),
    "llm_response_model": _llm("response_model"),
    "llm_cache_read_tokens": _llm("cache_read_tokens"),
    "llm_cache_write_tokens": _llm("cache_write_tokens"),
    "llm_reasoning_tokens": _llm("reasoning_tokens"),
    "llm_session_id": _llm("session_id"),
    "llm_user_id": _llm("user_id"),
    "llm_agent_name": _llm("agent_name"),
    "llm_tool_name": _llm("tool_name"),
    "llm_computed_cost_usd": _llm("computed_cost_usd"),
    "llm_content": _llm_content,
}

_LOG: Final[dict[str, Read]] = {
    "service": _always(lambda record: record.service),
    "body": _body,
    "body_type": _always(_body_type),
    "level": _always(lambda record: record.level),
    "detected_level": lambda _: (),
    "severity_number": _always(lambda record: record.severity_number),
    "severity_text": _always(lambda record: record.severity_text),
    "event_name": _always(lambda record: record.event_name),
    "timestamp": _always(lambda record: signed_ns(record.timestamp_ns)),
    "observed_timestamp": _always(lambda record: signed_ns(record.observed_ns)),
    "trace_id": _set(lambda record: record.trace_id),
    "span_id": _set(lambda record: record.span_id),
    "scope_name": _always(lambda record: record.scope.name),
    "scope_version": _always(lambda record: record.scope.version),
    "attribute_keys": lambda record: [*record.attributes, *record.resource.attributes, *record.scope.attributes],
}
