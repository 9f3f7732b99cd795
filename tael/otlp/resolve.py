"""Replaces references in stored items by the values they stand for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import ArrayValue, KeyValueList

from tael.model.attributes import Attributes, AttributeValue
from tael.model.log import LogRecord
from tael.model.payload import Form, Reference, parse_reference
from tael.model.span import Span
from tael.otlp.anyvalue import decode_array, decode_attributes

Contents = Mapping[bytes, bytes]
"""Contents of payloads by their SHA-256."""
_DECODERS: Final[dict[Form, Callable[[bytes], AttributeValue]]] = {
    "string": lambda content: content.decode(errors="replace"),
    "bytes": lambda content: content,
    "array": lambda content: decode_array(ArrayValue.FromString(content)),
    "map": lambda content: decode_attributes(KeyValueList.FromString(content).values),
}


def span_references(span: Span) -> Iterator[Reference]:
    """The references in the attributes of a span, its events and its links."""
    for attributes in (span.attributes, *(event.attributes for event in span.events), *(link.attributes for link in span.links)):
        yield from references(attributes.values())


def log_references(record: LogRecord) -> Iterator[Reference]:
    """The references in a log record's attributes and body."""
    yield from references((*record.attributes.values(), record.body))


def references(values: Iterable[AttributeValue]) -> Iterator[Reference]:
    """The references among the values."""
    for value in values:
        if isinstance(value, str) and (reference := parse_reference(value)) is not None:
            yield reference


def resolve_span(span: Span, contents: Contents) -> Span:
    """The span with each reference replaced by its value, if ``contents`` has it; other references stay."""
    events = tuple(replace(event, attributes=_attributes(event.attributes, contents)) for event in span.events)
    links = tuple(replace(link, attributes=_attributes(link.attributes, contents)) for link in span.links)
    return replace(span, attributes=_attributes(span.attributes, contents), events=events, links=links)


def resolve_log(record: LogRecord, contents: Contents) -> LogRecord:
    """The log record with each reference replaced by its value, if ``contents`` has it; other references stay."""
    return replace(record, attributes=_attributes(record.attributes, contents), body=_value(record.body, contents))


def _attributes(attributes: Attributes, contents: Contents) -> Attributes:
    return {key: _value(value, contents) for key, value in attributes.items()}


def _value(value: AttributeValue, contents: Contents) -> AttributeValue:
    reference = parse_reference(value) if isinstance(value, str) else None
    content = contents.get(reference.sha256) if reference is not None else None
    return value if reference is None or content is None else _DECODERS[reference.form](content)
