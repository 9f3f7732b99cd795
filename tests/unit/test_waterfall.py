"""The shape of a trace on a timeline."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tael.cli.figures import milliseconds
from tael.cli.waterfall import waterfall


def span(span_id: str, parent: str | None, start_ms: int = 0, duration_ms: float = 1.0) -> dict[str, Any]:
    """A span as in the API, with the fields that the waterfall reads."""
    second, ms = divmod(start_ms, 1000)
    start = f"2026-09-21T14:13:{second:02d}.{ms:03d}000000Z"
    return {"span_id": span_id, "parent_span_id": parent, "start_time": start, "duration_ms": duration_ms}


def shape(spans: list[dict[str, Any]]) -> list[str]:
    return [row.branches + row.span["span_id"] for row in waterfall(spans, 10)]


def test_children_stand_under_their_parent_by_start() -> None:
    """Whatever the order in which they arrive."""
    spans = [span("root", None), span("b", "root", 2), span("a", "root", 1), span("a1", "a", 3), span("a2", "a", 4), span("b1", "b", 5)]
    random.Random(1).shuffle(spans)
    assert shape(spans) == ["root", "├─ a", "│  ├─ a1", "│  └─ a2", "└─ b", "   └─ b1"]


def test_a_span_without_its_parent_is_at_the_top() -> None:
    assert shape([span("orphan", "gone", 1), span("child", "orphan", 2), span("root", None)]) == ["root", "orphan", "└─ child"]


def test_rings_and_repeated_ids_show_every_span_once() -> None:
    """Real telemetry has them."""
    spans = [span("self", "self"), span("x", "y", 1), span("y", "x", 2), span("twice", None, 3), span("twice", None, 4)]
    assert sorted(row.span["start_time"] for row in waterfall(spans)) == sorted(one["start_time"] for one in spans)


def test_a_trace_may_be_deeper_than_python_recurses() -> None:
    spans = [span("0", None), *(span(str(i), str(i - 1)) for i in range(1, 3000))]
    assert len(waterfall(spans)) == 3000


def test_no_spans_make_no_rows() -> None:
    assert waterfall([]) == []


def test_bars_are_at_the_time_of_their_spans() -> None:
    """Also beyond the end of a second; the shortest span has at least one mark."""
    spans = [span("root", None, 59_900, 100), span("late", "root", 59_990, 10), span("instant", "root", 59_950, 0)]
    assert [row.bar for row in waterfall(spans, 10)] == ["━" * 10, "     ━    ", "         ━"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0 µs"), (0.0005, "0.5 µs"), (1.0, "1.00 ms"), (999.99, "999.99 ms"), (1500.0, "1.50 s"), (90_000.0, "1.5 min")],
)
def test_durations_read_well(value: float, text: str) -> None:
    assert milliseconds(value) == text
