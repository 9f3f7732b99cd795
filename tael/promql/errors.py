"""Errors in the text of an expression, with their position."""

from __future__ import annotations

from tael.errors import Rejected
from tael.syntax.position import Pos, place


class ParseError(Rejected):
    """The text is not valid PromQL; the message is ``line:column: parse error: reason``, both counted from 1."""

    def __init__(self, query: str, pos: Pos, problem: str) -> None:
        self.pos = pos
        self.problem = problem
        super().__init__(f"{place(query, pos.start)}: parse error: {problem}")
