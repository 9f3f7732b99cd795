"""Errors in a TraceQL query, with their position."""

from __future__ import annotations

from typing import ClassVar, Self

from tael.errors import Rejected


class ParseError(Rejected):
    """The text is not TraceQL. The message is ``parse error at line L, col C: problem``, both counted from 1 in characters."""

    def __init__(self, query: str, at: int, problem: str) -> None:
        self.at = at
        super().__init__(f"parse error at {_place(query, at)}: {problem}")


class WrongPart(Rejected):
    """The query parses, but a part of it cannot be evaluated: ``of``, which is a node of the tree."""

    kind: ClassVar[str]

    def __init__(self, problem: str, of: object = None) -> None:
        self.of = of
        super().__init__(problem)

    def placed(self, query: str, at: int) -> Self:
        """The error with the position of the part: ``kind at line L, col C: problem``."""
        return type(self)(f"{self.kind} at {_place(query, at)}: {self.reason}", self.of)


class TypeMismatch(WrongPart):
    """An operator cannot be applied to its operands; the message shows the expression."""

    kind = "type error"


class Unsupported(WrongPart):
    """The query is valid TraceQL that this engine does not evaluate; the message names the part."""

    kind = "unsupported"


def _place(query: str, at: int) -> str:
    *lines, last = query[:at].split("\n")
    return f"line {len(lines) + 1}, col {len(last) + 1}"
