"""``| json``: the members of a JSON line as labels; nested ones are joined by underscores, arrays are left out.

``| json name="user.name", first="servers[0]"`` takes the values at these paths, objects and arrays as their text.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeAlias

from tael.logql.ast import JsonParser
from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.json_path import Path, json_path, value_in
from tael.logql.stages.json_scan import NO_VALUE, TOO_DEEP, characters_of, members
from tael.logql.stages.names import path_name

JSON_ERROR: Final = "JSONParserErr"
MAX_SCANNED_DEPTH: Final = 64
"""How deep a malformed line is read. Each level scans all below it again, so the time is the line's length times its depth."""


_Object: TypeAlias = tuple[tuple[str, Any], ...]
"""The members of an object in the order of the text, including duplicate keys; arrays are lists."""


def _no_constant(_: str) -> Any:
    raise ValueError(NO_VALUE)


# Numbers keep their text: a label is 1.0 or 1e3 where the line is.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=tuple, parse_float=str, parse_int=str, parse_constant=_no_constant, strict=False)


_NONE: Final = object()


class _Enough(Exception):
    """Everything that the query reads has been parsed."""


def json_parser(stage: JsonParser) -> Run:
    """The stage as a function. Raises ValueError for an invalid path."""
    return _extracting(stage) if stage.extractions else parse_json


def parse_json(row: Row) -> bool:
    """Set the labels of a JSON line, or its error."""
    if row.hints.skip(row.parsed):
        return True
    try:
        document = _document(row.line)
        if document is None:
            _scan(row, row.line, ())
        else:
            _walk(row, document, ())
    except _Enough:
        pass
    except ValueError as problem:
        row.fail(JSON_ERROR, str(problem))
    except RecursionError:
        # One line must not fail the whole query.
        row.fail(JSON_ERROR, TOO_DEEP)
    return True


def _document(line: str) -> _Object | None:
    """A valid object, by the fast decoder; None for a line that has to be scanned member by member. Raises RecursionError."""
    start = len(line) - len(line.lstrip(" \t\r\n"))
    if line[start : start + 1] != "{":
        return None
    try:
        found = _DECODER.raw_decode(line, start)[0]
    except ValueError:
        return None
    return found if isinstance(found, tuple) else None


def _walk(row: Row, document: _Object, path: tuple[str, ...]) -> None:
    for key, value in document:
        if isinstance(value, str):
            text = value if value.isascii() else characters_of(value)
        elif isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, tuple) and row.hints.wants_prefix(path_name((*path, key))):
            _walk(row, value, (*path, key))
            continue
        else:
            continue
        name = path_name((*path, key) if path else (key,))
        if name and not row.parse(name, text):
            raise _Enough


def _scan(row: Row, text: str, path: tuple[str, ...]) -> None:
    if len(path) > MAX_SCANNED_DEPTH:
        raise ValueError(TOO_DEEP)
    for key, value in members(text):
        if value.kind == "object":
            if row.hints.wants_prefix(path_name((*path, key))):
                _scan(row, value.raw, (*path, key))
        elif value.kind in ("string", "number", "boolean"):
            _found(row, (*path, key), value.text())


def _found(row: Row, path: tuple[str, ...], value: str) -> None:
    name = path_name(path)
    if name and not row.parse(name, value):
        raise _Enough


def json_paths(line: str) -> dict[str, list[str]]:
    """The path in a JSON line of the value of each label that it gives."""
    found: dict[str, list[str]] = {}

    def walk(document: _Object, path: tuple[str, ...]) -> None:
        for key, value in document:
            if isinstance(value, tuple):
                walk(value, (*path, key))
            elif isinstance(value, str | bool):
                found.setdefault(path_name((*path, key)), [characters_of(step) for step in (*path, key)])

    try:
        document = _document(line)
        if document is not None:
            walk(document, ())
    except RecursionError:
        return {}
    return found


def text_at(line: str, document: _Object | None, path: Path) -> str | None:
    """The text of the value at a path of a line, whose ``document`` is known if it is valid; None where there is none."""
    if document is not None:
        try:
            value = _member(document, path)
        except LookupError:
            return None
        if isinstance(value, str):
            return value if value.isascii() else characters_of(value)
        if value is None or isinstance(value, bool):
            return {None: "", True: "true", False: "false"}[value]
    # An object or an array is shown as it is written.
    written = value_in(line, path)
    return None if written is None else written.raw if written.kind == "object" else written.text()


def _member(document: _Object, path: Path) -> Any:
    """The value at a path. Raises LookupError."""
    value: Any = document
    for step in path:
        if isinstance(step, int):
            value = (value if isinstance(value, list) else [])[step]
        else:
            members_of = value if isinstance(value, tuple) else ()
            value = next((member for key, member in members_of if (key if key.isascii() else characters_of(key)) == step), _NONE)
            if value is _NONE:
                raise LookupError(step)
    return value


def _extracting(stage: JsonParser) -> Run:
    paths = [(extraction.label, json_path(extraction.expression)) for extraction in stage.extractions]

    def run(row: Row) -> bool:
        if not row.line or row.hints.skip(row.parsed):
            return True
        if row.line[0] not in '"{[':
            row.fail(JSON_ERROR)
            return True
        try:
            document = _document(row.line)
        except RecursionError:
            document = None
        found = [text_at(row.line, document, path) for _, path in paths]
        for (label, _), text in zip(paths, found, strict=True):
            if text is not None:
                row.set(row.name_for(label), text)
            elif row.get(label) is None:
                row.set(label, "")
        return True

    return run
