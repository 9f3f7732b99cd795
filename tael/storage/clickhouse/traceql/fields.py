"""A TraceQL field as a column of a statement, pure.

An attribute is selected as text with a letter for its type, as in the ``other`` maps (flatten.py) plus ``s`` for a string; it is empty if
the span does not have it. So one column serves attributes of every type, and a value that many spans share is transferred once
(LowCardinality).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tael.model.span import UNKNOWN_SERVICE
from tael.traceql.ast import Attribute, Field, Intrinsic, Named, Scope
from tael.traceql.spans import SERVICE

_START = "toUnixTimestamp64Nano(start_time)"
_SERVICE_COLUMN = "toLowCardinality(concat('s', service))"
_ELEMENTS = {Scope.EVENT: "events", Scope.LINK: "links"}
INTRINSICS = {
    Intrinsic.NAME: "toLowCardinality(concat('s', name))",
    Intrinsic.STATUS_MESSAGE: "toLowCardinality(concat('s', status_message))",
    Intrinsic.INSTRUMENTATION_NAME: "toLowCardinality(concat('s', scope_name))",
    Intrinsic.INSTRUMENTATION_VERSION: "toLowCardinality(concat('s', scope_version))",
    Intrinsic.STATUS: "toInt64(status_code)",
    Intrinsic.KIND: "toInt64(kind)",
    Intrinsic.EVENT_NAME: "arrayMap(x -> concat('s', x), events.name)",
    Intrinsic.EVENT_TIME_SINCE_START: f"arrayMap(x -> toUnixTimestamp64Nano(x) - {_START}, events.time)",
    Intrinsic.LINK_TRACE_ID: "arrayMap(x -> concat('s', trim(LEADING '0' FROM lower(hex(x)))), links.trace_id)",
    Intrinsic.LINK_SPAN_ID: "arrayMap(x -> concat('s', lower(hex(x))), links.span_id)",
}
"""SQL for the intrinsics that the table stores; the others are computed from the ids and times of a block."""


@dataclass(slots=True)
class FieldColumns:
    """Columns for fields, and the values of the parameters in them."""

    parameters: dict[str, Any] = field(default_factory=dict)
    named_service: bool = False
    """Whether the service may be read as UNKNOWN_SERVICE where none was sent."""

    def column(self, named: Named) -> str | None:
        """The expression that selects a field; None for a field that the table does not store."""
        if isinstance(named, Field):
            return INTRINSICS.get(named.intrinsic)
        if named == SERVICE:
            if self.named_service:
                return _SERVICE_COLUMN
            # Every resource has a service; one that was not sent is the empty string.
            return "toLowCardinality(concat('s', resource_string['service.name']))"
        return None if named.scope is Scope.ANY else self._attribute(named.scope, self._bind(named.name))

    def cases(self, named: Named) -> list[tuple[str, str]]:
        """The field by cases, each a condition and the expression to use if it holds. Exactly one condition holds for every span.

        A service is in a column of its own, unless it was not sent. Reading one value of a map of strings is eight times as fast as testing
        the keys of five maps, so spans with a string value are a case of their own. Raises ValueError for a field that the table does not
        store.
        """
        column = self.column(named)
        if column is None:
            raise ValueError(f"{named} is not stored")
        if named == SERVICE:
            return [
                (f"service != '{UNKNOWN_SERVICE}'", _SERVICE_COLUMN),
                (f"service = '{UNKNOWN_SERVICE}'", column),
            ]
        if not isinstance(named, Attribute) or named.scope not in (Scope.SPAN, Scope.RESOURCE):
            return [("true", column)]
        text = f"{'attributes' if named.scope is Scope.SPAN else 'resource'}_string[{self._bind(named.name)}]"
        return [(f"{text} != ''", f"toLowCardinality(concat('s', {text}))"), (f"{text} = ''", column)]

    def _attribute(self, scope: Scope, key: str) -> str:
        if scope in _ELEMENTS:
            table = _ELEMENTS[scope]
            return f"arrayMap((s, o) -> {_of_two('s', 'o', key)}, {table}.attributes_string, {table}.attributes_other)"
        if scope is Scope.INSTRUMENTATION:
            return f"toLowCardinality({_of_two('scope_string', 'scope_other', key)})"
        return f"toLowCardinality({_of_five('attributes' if scope is Scope.SPAN else 'resource', key)})"

    def number(self, named: Named) -> str | None:
        """A field's value as Nullable(Float64), with durations in nanoseconds; None for a field that is not numeric or has several values
        for a span.
        """
        if named == Field(Intrinsic.DURATION):
            return "toFloat64(greatest(duration_ns, 0))"
        if not isinstance(named, Attribute) or named.scope not in (Scope.SPAN, Scope.RESOURCE):
            return None
        prefix, key = ("attributes" if named.scope is Scope.SPAN else "resource"), self._bind(named.name)
        return (
            f"multiIf(mapContains({prefix}_int, {key}), toNullable(toFloat64({prefix}_int[{key}])), "
            f"mapContains({prefix}_double, {key}), toNullable({prefix}_double[{key}]), NULL)"
        )

    def _bind(self, key: str) -> str:
        name = next((name for name, known in self.parameters.items() if known == key), f"k{len(self.parameters)}")
        self.parameters[name] = key
        return f"{{{name}:String}}"


def _of_five(prefix: str, key: str) -> str:
    return (
        f"multiIf(mapContains({prefix}_string, {key}), concat('s', {prefix}_string[{key}]), "
        f"mapContains({prefix}_int, {key}), concat('i', toString({prefix}_int[{key}])), "
        f"mapContains({prefix}_double, {key}), concat('d', toString({prefix}_double[{key}])), "
        f"mapContains({prefix}_bool, {key}), if({prefix}_bool[{key}], 't', 'f'), {prefix}_other[{key}])"
    )


def _of_two(strings: str, others: str, key: str) -> str:
    return f"if(mapContains({strings}, {key}), concat('s', {strings}[{key}]), {others}[{key}])"
