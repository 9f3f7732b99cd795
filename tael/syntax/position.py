"""Positions in the text of a query."""

from __future__ import annotations

from typing import NamedTuple


class Pos(NamedTuple):
    """A part of a query's text: offsets in characters, the end exclusive."""

    start: int
    end: int


NOWHERE = Pos(0, 0)


def place(query: str, at: int) -> str:
    """``line:column`` of an offset, both counted from 1; columns count bytes of UTF-8, as Prometheus' do."""
    if not query:
        return "unknown position"
    *lines, last = query[:at].split("\n")
    return f"{len(lines) + 1}:{len(last.encode(errors='replace')) + 1}"
