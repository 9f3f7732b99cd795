"""A trace as a tree on a time line, pure: the order of its rows, the branches before each name, and the position of each bar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BAR_COLUMNS = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One span: the branches before its name, and its bar."""

    span: Mapping[str, Any]
    branches: str
    bar: str


def waterfall(spans: Sequence[Mapping[str, Any]], columns: int = BAR_COLUMNS) -> list[Row]:
    """Every span of the native API's trace exactly once, children under their parent by start.

    A span whose parent is missing is at the top level, and so is the first span of a cycle of parents.
    """
    if not spans:
        return []
    starts = [start_ns(span) for span in spans]
    first = min(starts)
    whole = max(1, max(start + _length_ns(span) for start, span in zip(starts, spans, strict=True)) - first)
    rows = []
    for index, branches in _tree(spans, starts):
        bar = _bar(starts[index] - first, _length_ns(spans[index]), whole, columns)
        rows.append(Row(spans[index], branches, bar))
    return rows


def start_ns(span: Mapping[str, Any]) -> int:
    """``start_time`` as nanoseconds since year 1; for differences, exact for any date."""
    date, _, rest = str(span["start_time"]).removesuffix("Z").partition("T")
    clock, _, fraction = rest.partition(".")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return (_days(date) * 86400 + hours * 3600 + minutes * 60 + seconds) * 10**9 + int(fraction.ljust(9, "0"))


def _days(date: str) -> int:
    return dt.date.fromisoformat(date).toordinal()


def _length_ns(span: Mapping[str, Any]) -> int:
    return round(float(span["duration_ms"]) * 1e6)


def _tree(spans: Sequence[Mapping[str, Any]], starts: Sequence[int]) -> list[tuple[int, str]]:
    order = sorted(range(len(spans)), key=lambda index: starts[index])
    by_id = {spans[index]["span_id"]: index for index in reversed(order)}
    children: dict[int | None, list[int]] = {}
    for index in order:
        parent = by_id.get(spans[index]["parent_span_id"])
        children.setdefault(None if parent == index else parent, []).append(index)
    placed: dict[int, str] = {}
    # After the roots every span is tried as one, which catches the spans of cycles of parents.
    for root in [*children.get(None, []), *order]:
        stack = [(root, "", "")]
        while stack:
            index, branches, below = stack.pop()
            if index in placed:
                continue
            placed[index] = branches
            under = [child for child in children.get(index, []) if child not in placed]
            for child in reversed(under):
                last = child == under[-1]
                stack.append((child, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")))
    return list(placed.items())


def _bar(offset_ns: int, length_ns: int, whole_ns: int, columns: int) -> str:
    """A bar of ``columns`` characters; even the shortest span gets one mark."""
    begin = min(columns - 1, offset_ns * columns // whole_ns)
    end = min(columns, max(begin + 1, -(-(offset_ns + length_ns) * columns // whole_ns)))
    return " " * begin + "━" * (end - begin) + " " * (columns - end)
