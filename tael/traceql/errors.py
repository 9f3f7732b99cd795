"""Errors in a TraceQL query, with their position."""

from __future__ import annotations

from tael.errors import Rejected


class ParseError(Rejected):
    """The text is not TraceQL. The message is ``parse error at line L, col C: problem``, both counted from 1 in characters."""

    def __init__(self, query: str, at: int, problem: str) -> None:
        self.at = at
        *lines, last = query[:at].split("\n")
        super().__init__(f"parse error at line {len(lines) + 1}, col {len(last) + 1}: {problem}")


class TypeMismatch(Rejected):
    """The query parses, but an operator cannot be applied to its operands; the message shows the expression."""


class Unsupported(Rejected):
    """The query is valid TraceQL that this engine does not evaluate; the message names the part."""
