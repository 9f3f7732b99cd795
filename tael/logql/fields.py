"""The fields of lines: structured metadata, and the members of JSON or logfmt lines, with their types and numbers of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tael.logql.ast import LogfmtParser
from tael.logql.errors import ERROR, ERROR_DETAILS, PRESERVE_ERROR
from tael.logql.quantities import go_duration_ns, go_float, human_bytes, size_bytes
from tael.logql.row import Row
from tael.logql.stages.json_parser import json_paths, parse_json
from tael.logql.stages.logfmt import logfmt_parser

_HIDDEN: Final = (ERROR, ERROR_DETAILS, PRESERVE_ERROR)
_BOOLEANS: Final = ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")
_BYTE_UNITS: Final = tuple(f"{prefix}{unit}" for prefix in ("", *"kmgtpe") for unit in ("b", "ib", "i", "") if prefix or unit == "b")
_LOGFMT: Final = logfmt_parser(LogfmtParser())


@dataclass(slots=True)
class _Field:
    """``last`` is the value in the last row that has the field, and ``line`` the last line of JSON that has it."""

    values: set[str] = field(default_factory=set)
    last: str = ""
    parsers: list[str] = field(default_factory=list)
    line: str = ""


class Fields:
    """The first ``limit`` fields of ``rows``; a field's type is that of its value in the last row that has it."""

    def __init__(self, rows: Iterable[Row], limit: int) -> None:
        self._limit = limit
        self._found: dict[str, _Field] = {}
        for row in rows:
            self._read(row)

    def described(self) -> list[dict[str, Any]]:
        """The fields in the form of Loki's API."""
        paths = {line: json_paths(line) for line in {found.line for found in self._found.values()}}
        return [
            {
                "label": name,
                "type": kind_of(found.last),
                "cardinality": len(found.values),
                "parsers": found.parsers or None,
                **({"jsonPath": path} if (path := paths[found.line].get(name)) else {}),
            }
            for name, found in self._found.items()
        ]

    def values(self, name: str, limit: int) -> list[str]:
        """Values of one field, with sizes in the form used in queries."""
        found = self._found.get(name, _Field())
        shown = {_query_form(value) if found.parsers else value for value in found.values}
        return sorted(shown)[:limit]

    def _read(self, row: Row) -> None:
        for name, value in row.metadata.items():
            self._add(name, value)
        parsed = {name: value for name, value in row.parsed_labels().items() if name not in _HIDDEN}
        stream = {name: value for name, value in row.stream.items() if name not in parsed}
        own, parser = _parsed(Row(row.timestamp_ns, row.line, stream, {}))
        for name in {**parsed, **own}:
            for value in dict.fromkeys(labels[name] for labels in (parsed, own) if name in labels):
                self._add(name, value, parser, row.line)

    def _add(self, name: str, value: str, parser: str = "", line: str = "") -> None:
        found = self._found.get(name)
        if found is None:
            if len(self._found) >= self._limit:
                return
            found = self._found[name] = _Field()
        found.values.add(value)
        found.last = value
        if parser and parser not in found.parsers:
            found.parsers.append(parser)
        if parser == "json":
            found.line = line


def kind_of(value: str) -> str:
    """The type of a field with this value."""
    if value.lstrip("+-").isdigit() and value.isascii():
        return "int"
    for kind, read in (("float", go_float), ("boolean", _boolean), ("duration", go_duration_ns), ("bytes", size_bytes)):
        if _reads(read, value):
            return kind
    return "string"


def _reads(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except ValueError:
        return False
    return True


def _boolean(value: str) -> bool:
    if value not in _BOOLEANS:
        raise ValueError(value)
    return True


def _parsed(row: Row) -> tuple[dict[str, str], str]:
    """The labels parsed from a line, and the parser that found them."""
    parse_json(row)
    if not row.error:
        return row.parsed_labels(), "json"
    row = Row(row.timestamp_ns, row.line, row.stream, {})
    _LOGFMT(row)
    return row.parsed_labels(), "logfmt"


def _query_form(value: str) -> str:
    if value.lower().endswith(_BYTE_UNITS) and _reads(size_bytes, value):
        return human_bytes(size_bytes(value))
    return value
