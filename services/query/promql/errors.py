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
    """``line:column`` of an offset; columns count bytes, as Prometheus' do."""
    if not query:
        return "unknown position"
    *lines, last = query[:at].split("\n")
    return f"{len(lines) + 1}:{len(last.encode(errors='replace')) + 1}"
