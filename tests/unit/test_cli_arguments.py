"""What people type at the command line, and what an agent is shown."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import click
import pytest

from tael.cli.arguments import Severity, instant
from tael.cli.compact import PREVIEW, chosen, compact, compact_answer

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("now", "2026-03-04T13:30:00Z"),
        ("15m", "2026-03-04T13:15:00Z"),
        ("-15m", "2026-03-04T13:15:00Z"),
        ("15m ago", "2026-03-04T13:15:00Z"),
        ("1h30m", "2026-03-04T12:00:00Z"),
        ("2D ago", "2026-03-02T13:30:00Z"),
        ("today", "2026-03-03T22:00:00Z"),
        ("yesterday", "2026-03-02T22:00:00Z"),
        ("9:05", "2026-03-04T07:05:00Z"),
        ("2026-01-31", "2026-01-30T22:00:00Z"),
        ("2026-01-31 10:30", "2026-01-31T08:30:00Z"),
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00Z"),
        ("1772631000", "1772631000"),
        ("25:99", "25:99"),
        ("soon", "soon"),
    ],
)
def test_times_as_people_type_them(typed: str, meant: str) -> None:
    """In local time where no zone is said; what is not understood goes to the server as it is."""
    assert instant(typed, NOW) == meant


@pytest.mark.parametrize(
    ("typed", "meant"), [("WARN", "warn"), ("Warning", "warn"), ("err", "error"), ("CRITICAL", "fatal"), ("info", "info")]
)
def test_severities_as_people_type_them(typed: str, meant: str) -> None:
    """In any case, and by their other names."""
    assert Severity().convert(typed, None, None) == meant


def test_a_word_that_is_no_severity() -> None:
    """Names the levels."""
    with pytest.raises(click.BadParameter, match="trace, debug, info, warn, error, fatal"):
        Severity().convert("loud", None, None)


def test_compact_items() -> None:
    """Long texts are cut and say so, empty members go, and what is not an item stays whole."""
    prompt = "x" * (PREVIEW + 1)
    answer: dict[str, object] = {
        "spans": [{"name": "chat", "attributes": {"prompt": prompt, "zero": 0, "off": False}, "events": [], "llm": None}],
        "cursor": None,
    }
    assert compact_answer(answer) == {
        "spans": [
            {"name": "chat", "attributes": {"prompt": f"{'x' * PREVIEW}… (201 characters; --full shows all)", "zero": 0, "off": False}}
        ],
        "cursor": None,
    }
    assert compact("x" * PREVIEW) == "x" * PREVIEW


def test_chosen_fields() -> None:
    """By name or by a path into objects, whose keys may have dots of their own."""
    answer = {"spans": [{"trace_id": "a", "attributes": {"http.route": "/x", "http": {"route": "/y"}}}], "partial": False}
    assert chosen(answer, ["attributes.http.route", "trace_id", "nothing"]) == {
        "spans": [{"attributes.http.route": "/x", "trace_id": "a"}],
        "partial": False,
    }
