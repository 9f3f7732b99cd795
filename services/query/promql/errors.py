"""What is wrong with the text of an expression, and where."""

from __future__ import annotations

from services.query.promql.ast import Pos
from tael.errors import Rejected


class ParseError(Rejected):
    """The text is no PromQL; its message is ``line:column: parse error: reason``, both counted from 1."""

    def __init__(self, query: str, pos: Pos, problem: str) -> None:
        self.pos = pos
        self.problem = problem
        super().__init__(f"{place(query, pos.start)}: parse error: {problem}")


def place(query: str, at: int) -> str:
    """``line:column`` of an offset."""
    if not query:
        return "unknown position"
    before = query[:at]
    return f"{before.count(chr(10)) + 1}:{at - before.rfind(chr(10))}"
