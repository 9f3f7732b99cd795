"""Converts tags of older protocols for which OTLP has fields (kind, status, scope, trace state); pure.

The names are those that OpenTelemetry's exporters to Zipkin and Jaeger write (OpenTelemetry specification, "OpenTelemetry to Jaeger
Transformation", "OpenTelemetry to Zipkin Transformation"), so that their spans are restored.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

from tael.model.attributes import AttributeValue
from tael.model.span import STATUS_ERROR, STATUS_OK, STATUS_UNSET, Scope

KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
"""Kinds by their names in tags; other names are unspecified."""
# Includes the number 0, which equals False.
_NO_ERROR = ("", "false", False)


@dataclass(frozen=True, slots=True)
class Lifted:
    """The fields found in tags; ``kind`` is 0 if there was none."""

    kind: int
    status_code: int
    status_message: str
    scope: Scope
    trace_state: str


def lift(tags: MutableMapping[str, AttributeValue]) -> Lifted:
    """Remove the tags that are fields in OTLP from ``tags``, and return the fields."""
    code, message = _status(tags)
    return Lifted(
        KINDS.get(_text(tags, "span.kind").lower(), 0),
        code,
        message,
        Scope(
            _text(tags, "otel.scope.name") or _text(tags, "otel.library.name"),
            _text(tags, "otel.scope.version") or _text(tags, "otel.library.version"),
        ),
        _text(tags, "w3c.tracestate"),
    )


def _status(tags: MutableMapping[str, AttributeValue]) -> tuple[int, str]:
    error = tags.get("error")
    message = _text(tags, "otel.status_description")
    code = {"OK": STATUS_OK, "ERROR": STATUS_ERROR}.get(_text(tags, "otel.status_code").upper(), STATUS_UNSET)
    if error is None or error in _NO_ERROR:
        return code, message
    if error in (True, "true"):
        del tags["error"]
        return STATUS_ERROR, message
    return STATUS_ERROR, message or str(error)


def _text(tags: MutableMapping[str, AttributeValue], name: str) -> str:
    """Remove a tag and return its text; a tag of another type stays, and the text is empty."""
    value = tags.get(name)
    if not isinstance(value, str):
        return ""
    del tags[name]
    return value
