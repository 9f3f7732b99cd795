"""``a.b["c d"][0]``: the paths of ``| json label="path"``, and the values at them."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from tael.logql.stages.json_scan import Value, elements, members, value_at

Path: TypeAlias = "tuple[str | int, ...]"
"""Member names and array positions."""

_TOKEN: Final = re.compile(
    r'\s*(?:(?P<FIELD>[A-Za-z_]\w*)|(?P<DOT>\.)|(?P<LSB>\[)|(?P<RSB>\])|(?P<INDEX>\d+)|"(?P<STRING>[^"\]]*)["\]]?)', re.ASCII
)


def json_path(expression: str) -> Path:
    """The path of an expression. Raises ValueError."""
    try:
        return _parsed(_tokens(expression))
    except ValueError as problem:
        raise ValueError(f"cannot parse expression [{expression}]: {problem}") from None


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(expression.rstrip()):
        token = _TOKEN.match(expression, at)
        if token is None:
            raise ValueError(f"unexpected char {expression[at:].lstrip()[0]}")
        kind = str(token.lastgroup)
        if kind == "INDEX" and expression[token.end() : token.end() + 1] == ".":
            raise ValueError("cannot use float as array index")
        found.append((kind, token[kind]))
        at = token.end()
    return found


def _parsed(tokens: list[tuple[str, str]]) -> Path:
    path: list[str | int] = []
    kinds = [*(kind for kind, _ in tokens), "$end"]
    at = 0
    while True:
        if kinds[at] == "LSB":
            _expect(kinds, at + 1, "STRING", "INDEX")
            _expect(kinds, at + 2, "RSB")
            text = tokens[at + 1][1]
            path.append(int(text) if kinds[at + 1] == "INDEX" else text)
            at += 3
        else:
            _expect(kinds, at, *(("FIELD", "LSB") if not path else ("FIELD",)))
            path.append(tokens[at][1])
            at += 1
        if kinds[at] == "$end":
            return tuple(path)
        if kinds[at] == "DOT":
            _expect(kinds, at + 1, "FIELD")
            at += 1
        elif kinds[at] != "LSB":
            _expect(kinds, at, "DOT", "LSB", "$end")


def _expect(kinds: list[str], at: int, *wanted: str) -> None:
    kind = kinds[min(at, len(kinds) - 1)]
    if kind not in wanted:
        raise ValueError(f"syntax error: unexpected {kind}, expecting {' or '.join(wanted)}")


def value_in(text: str, path: Path) -> Value | None:
    """The value at a path of a document, None where it is missing or malformed."""
    try:
        value = value_at(text, 0)[0] if text.lstrip()[:1] == "[" else Value("object", text)
        for step in path:
            value = _step(value, step)
    except (ValueError, LookupError):
        return None
    return value


def _step(value: Value, step: str | int) -> Value:
    if isinstance(step, int):
        if value.kind != "array":
            raise LookupError(step)
        return [*elements(value.raw)][step]
    if value.kind != "object":
        raise LookupError(step)
    for key, member in members(value.raw):
        if key == step:
            return member
    raise LookupError(step)
