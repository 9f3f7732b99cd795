"""Errors in a TraceQL query, with their position."""

from __future__ import annotations

from tael.errors import Rejected


class ParseError(Rejected):
    """The text is not TraceQL. The message is ``parse error at line L, col C: problem``, both counted from 1 in characters."""

    def __init__(self, query: str, at: int, problem: str) -> None:
        self.at = at
        super().__init__(f"parse error at {_place(query, at)}: {problem}")


class TypeMismatch(Rejected):
    """The query parses, but an operator cannot be applied to its operands; the message shows the expression, and ``of`` is its node."""

    def __init__(self, problem: str, of: object = None) -> None:
        self.of = of
        super().__init__(problem)

    def placed(self, query: str, at: int) -> TypeMismatch:
        """The error with the position of the expression: ``type error at line L, col C: problem``."""
        return TypeMismatch(f"type error at {_place(query, at)}: {self.reason}", self.of)


class Unsupported(Rejected):
    """The query is valid TraceQL that this engine does not evaluate; the message names the part."""


def _place(query: str, at: int) -> str:
    *lines, last = query[:at].split("\n")
    return f"line {len(lines) + 1}, col {len(last) + 1}"
