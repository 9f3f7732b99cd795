"""Conditions on one span or log record: one typed tree for search, live filters, TraceQL and LogQL. Pure.

Two compilers read it: tael/storage/clickhouse/predicate.py makes SQL of it, tael/otlp/matches.py a Python test of one item. They agree on
every item, which a property test checks. The rules:

* **Logic has two values.** A leaf holds or does not hold, and ``Not`` is its complement. ``Not(Compare(f, "=", v))`` therefore holds for an
  item without ``f`` (LogQL's ``!=``), ``Compare(f, "!=", v)`` does not (TraceQL's ``!=``).
* **A missing field satisfies no leaf**, whatever the operator: not ``!=``, no expression that matches the empty string, no empty
  ``Contains``.
* **Types are strict.** ``Compare`` holds only where the item's value has the type of ``value``: an integer is never equal to, or different
  from, a double. A language that compares numbers across types uses an ``Or``. ``Regex``, ``Words`` and ``Contains`` see strings only.
  Arrays, maps and empty values satisfy only ``Exists``, and arrays ``Listed``.
* **A field with many values** (of a span's events or links) satisfies a leaf when one of its values does.
* Doubles compare by IEEE 754, strings and bytes by their bytes (strings in UTF-8).

``EVERYTHING`` is the empty ``And``, ``NOTHING`` the empty ``Or``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from tael.model.patterns import searched
from tael.model.span import UNKNOWN_SERVICE

Value: TypeAlias = "str | bool | int | float | bytes"
Kind: TypeAlias = Literal["string", "bool", "int", "double", "bytes"]
Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]
FieldScope: TypeAlias = Literal["intrinsic", "attribute", "resource", "instrumentation", "event", "link", "any"]
"""``attribute`` is the span's or record's own attribute; ``any`` is that one or, where the item has no such key, the resource's."""

SPAN_INTRINSICS: Final[dict[str, Kind]] = {
    "name": "string",
    "service": "string",
    "kind": "int",
    "status": "int",
    "status_message": "string",
    "duration": "int",
    "start": "int",
    "trace_id": "bytes",
    "span_id": "bytes",
    "parent_span_id": "bytes",
    "trace_state": "string",
    "scope_name": "string",
    "scope_version": "string",
    "event_name": "string",
    "event_time_since_start": "int",
    "link_trace_id": "bytes",
    "link_span_id": "bytes",
    "llm_provider": "string",
    "llm_model": "string",
    "llm_operation": "string",
    "llm_input_tokens": "int",
    "llm_output_tokens": "int",
    "llm_total_tokens": "int",
    "llm_cost_usd": "double",
    "llm_ttft_ms": "double",
    "llm_finish_reason": "string",
    "llm_temperature": "double",
    "llm_response_model": "string",
    "llm_cache_read_tokens": "int",
    "llm_cache_write_tokens": "int",
    "llm_reasoning_tokens": "int",
    "llm_session_id": "string",
    "llm_user_id": "string",
    "llm_agent_name": "string",
    "llm_tool_name": "string",
    "llm_computed_cost_usd": "double",
    "llm_content": "string",
}
"""Fields of a span by name. Times are nanoseconds, ``start`` signed as in the tables. The ``event_``, ``link_`` and ``llm_content`` fields
have many values: ``llm_content`` is every prompt and completion, structured ones encoded. ``llm_`` fields are missing where the span does
not report them; ``parent_span_id`` of a root is present and empty."""

LOG_INTRINSICS: Final[dict[str, Kind]] = {
    "service": "string",
    "body": "string",
    "body_type": "string",
    "level": "int",
    "detected_level": "string",
    "severity_number": "int",
    "severity_text": "string",
    "event_name": "string",
    "timestamp": "int",
    "observed_timestamp": "int",
    "trace_id": "bytes",
    "span_id": "bytes",
    "scope_name": "string",
    "scope_version": "string",
    "attribute_keys": "string",
}
"""Fields of a log record by name. ``attribute_keys`` has many values: the keys of the record's, its resource's and its scope's attributes.
``body`` is the body's text: strings and bytes unchanged, booleans and numbers as text, and arrays and maps in protobuf's encoding, in which
their strings appear unchanged; ``body_type`` is one of none, string, bool, int, double, array, map, bytes. Ids are missing where the record
belongs to no trace or no span.

``detected_level`` is LogQL's (tael.logql.levels), and missing where finding it takes reading the line. The storage knows it of most
records, the test in memory of none: it is the one field in which the two may differ, and serves only predicates that hold where it is
missing."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an item: an intrinsic by its name, or an attribute by its key."""

    scope: FieldScope
    key: str


@dataclass(frozen=True, slots=True)
class And:
    """All of ``parts`` hold."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of ``parts`` holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """``part`` does not hold."""

    part: Predicate


@dataclass(frozen=True, slots=True)
class Compare:
    """The field has a value of the type of ``value`` for which ``op`` holds. Raises ValueError for an integer beyond 64 bits."""

    field: Field
    op: Operator
    value: Value

    def __post_init__(self) -> None:
        if isinstance(self.value, int) and not -(1 << 63) <= self.value < 1 << 63:
            raise ValueError(f"{self.value} is beyond 64 bits")


@dataclass(frozen=True, slots=True)
class Regex:
    """An RE2 expression matches somewhere in the field's text; as in Go, ``.`` does not match a line end without ``(?s)``.

    Raises Rejected for a pattern that RE2 refuses. A language with anchored expressions wraps them in ``^(?:…)$``.
    """

    field: Field
    pattern: str

    def __post_init__(self) -> None:
        searched(self.pattern)


@dataclass(frozen=True, slots=True)
class Exists:
    """The item has the field."""

    field: Field


@dataclass(frozen=True, slots=True)
class Words:
    """Every word occurs in the field's text as a whole word, ignoring the case of ASCII letters; ``words`` are as ``words_of``
    gives them.
    """

    field: Field
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """``text`` is part of the field's text; ``ignore_case`` compares letter by letter, so that ``ß`` and ``SS`` differ."""

    field: Field
    text: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """The attribute's value is an array."""

    field: Field


Predicate: TypeAlias = "And | Or | Not | Compare | Regex | Exists | Words | Contains | Listed"

EVERYTHING: Final = And(())
NOTHING: Final = Or(())

RELATIONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]+")


def intrinsic(name: str) -> Field:
    """The intrinsic field of this name."""
    return Field("intrinsic", name)


def kind_of(value: Value) -> Kind:
    """The type that ``Compare`` requires of an item's value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "double"
    return "string" if isinstance(value, str) else "bytes"


def relation(leaf: Compare) -> Callable[[Any], bool]:
    """The comparison as a test of a value of the leaf's type."""
    relate, value = RELATIONS[leaf.op], leaf.value
    return lambda held: relate(held, value)


def words_of(text: str) -> tuple[str, ...]:
    """The distinct words of a text, ASCII letters in lower case: runs of letters, digits and non-ASCII characters."""
    return tuple(dict.fromkeys(word.decode(errors="replace") for word in _WORD.findall(text.encode().lower())))


def all_of(parts: Iterable[Predicate]) -> Predicate:
    """The conjunction of ``parts``, without an ``And`` inside it or around a single one."""
    flat = tuple(inner for part in parts for inner in conjuncts(part))
    return flat[0] if len(flat) == 1 else And(flat)


def conjuncts(predicate: Predicate) -> tuple[Predicate, ...]:
    """The parts of the conjunction that ``predicate`` is, none of them an ``And``."""
    return tuple(inner for part in predicate.parts for inner in conjuncts(part)) if isinstance(predicate, And) else (predicate,)


def mentions(predicate: Predicate, field: Field) -> bool:
    """Whether some leaf tests this field."""
    if isinstance(predicate, And | Or):
        return any(mentions(part, field) for part in predicate.parts)
    return mentions(predicate.part, field) if isinstance(predicate, Not) else predicate.field == field


def mentions_only(predicate: Predicate, field: Field) -> bool:
    """Whether no leaf tests another field."""
    if isinstance(predicate, And | Or):
        return all(mentions_only(part, field) for part in predicate.parts)
    return mentions_only(predicate.part, field) if isinstance(predicate, Not) else predicate.field == field


def required_service(predicate: Predicate) -> str:
    """The service that every matching item must have; empty where the predicate requires none."""
    return next((service for part in conjuncts(predicate) if (service := service_named(part))), "")


def service_named(part: Predicate) -> str:
    """The service that ``part`` requires, as the intrinsic field or the resource's attribute; empty for any other predicate."""
    if not isinstance(part, Compare) or part.op != "=" or not isinstance(part.value, str):
        return ""
    if part.field == Field("resource", "service.name"):
        # A resource without a name is an unknown service too.
        return "" if part.value == UNKNOWN_SERVICE else part.value
    return part.value if part.field == intrinsic("service") else ""
