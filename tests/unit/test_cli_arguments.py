"""Values that users type at the command line, and what agents are shown."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import click
import pytest

from tael.cli.arguments import LENGTHS, TIMES, Severity, Step, duration, instant
from tael.cli.compact import PREVIEW, chosen, compact, compact_answer, has_place, known_fields
from tael.errors import Rejected

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
        ("now-1h", "2026-03-04T12:30:00Z"),
        ("now - 1h 30m", "2026-03-04T12:00:00Z"),
        ("now+1h", "2026-03-04T14:30:00Z"),
        ("1 hour ago", "2026-03-04T12:30:00Z"),
        ("an hour ago", "2026-03-04T12:30:00Z"),
        ("1 day and 2 hours ago", "2026-03-03T11:30:00Z"),
        ("90 min", "2026-03-04T12:00:00Z"),
        ("500ms ago", "2026-03-04T13:29:59.500000Z"),
    ],
)
def test_times_as_people_type_them(typed: str, meant: str) -> None:
    """In local time unless a zone is given."""
    assert instant(typed, NOW) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "25:99",
        "soon",
        "tomorrow",
        "last week",
        "now/d",
        "now-",
        "now-3M",
        "3M ago",
        "1h soon",
        "2 fortnights ago",
        "2026-02-30",
        "2026-01-31T09:30Z",
    ],
)
def test_an_invalid_time_is_refused(typed: str) -> None:
    """It is refused with a list of accepted forms."""
    with pytest.raises(Rejected) as refused:
        instant(typed, NOW)
    assert refused.value.accepted == TIMES
    assert repr(typed) in refused.value.reason or not typed.strip()


@pytest.mark.parametrize(
    "typed", ["99999999 weeks ago", "800000 days ago", "now+3000000d", "0001-01-01", "400000 days ago", f"{'9' * 400}d"]
)
def test_times_that_are_too_far_away(typed: str) -> None:
    """Beyond the range of dates, and beyond what the API accepts."""
    with pytest.raises(Rejected, match="too far away"):
        instant(typed, NOW)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("15m", "15m"),
        ("2h30m", "2h30m"),
        ("2 hours", "2h"),
        ("90 min", "90m"),
        ("1 day", "1d"),
        ("1 day, 3 hours", "1d3h"),
        ("a week", "1w"),
        ("1.5 Hours", "1.5h"),
        ("250 milliseconds", "250ms"),
        ("500us", "500us"),
    ],
)
def test_lengths_of_time_as_people_type_them(typed: str, meant: str) -> None:
    """Converted to the form that the API accepts."""
    assert duration(typed) == meant


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "it is empty"),
        ("10", "'10' has no unit"),
        ("3M", "'3M' is not a length of time"),
        ("2 months", "'2 months' is not a length of time"),
        ("1 hour ago", "'1 hour ago' is a point in time, for --start; the length is 1h"),
        ("now-1h30m", "'now-1h30m' is a point in time, for --start; the length is 1h30m"),
    ],
)
def test_an_invalid_duration_is_refused(typed: str, reason: str) -> None:
    """It is refused with a list of accepted forms."""
    with pytest.raises(Rejected) as refused:
        duration(typed)
    assert (refused.value.reason, refused.value.accepted) == (reason, LENGTHS)


@pytest.mark.parametrize(
    ("typed", "meant"), [("WARN", "warn"), ("Warning", "warn"), ("err", "error"), ("CRITICAL", "fatal"), ("info", "info")]
)
def test_severities_as_people_type_them(typed: str, meant: str) -> None:
    """In upper or lower case, and by alternative names."""
    assert Severity().convert(typed, None, None) == meant


def test_an_unknown_severity_is_refused() -> None:
    """The error lists the levels."""
    with pytest.raises(click.BadParameter, match="trace, debug, info, warn, error, fatal"):
        Severity().convert("loud", None, None)


def test_compact_items() -> None:
    """Long texts are cut and marked, empty members are dropped, and what is not an item is unchanged."""
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


def test_known_fields() -> None:
    """The fields of any item; members of objects are accepted under any path."""
    answer = {"spans": [{"trace_id": "a", "attributes": {}}, {"llm": None}], "cursor": None}
    known = known_fields(answer)
    assert known == ["trace_id", "attributes", "llm"]
    assert [
        name for name in ("trace_id", "attributes.http.route", "llm.model", "nosuch", "trace_ids", "nosuch.a") if not has_place(name, known)
    ] == [
        "nosuch",
        "trace_ids",
        "nosuch.a",
    ]
    assert known_fields({"spans": []}) == []


def test_a_step_is_seconds_or_a_length_of_time() -> None:
    assert [Step().convert(text, None, None) for text in ("15", "0.5", "5m", "2 hours")] == ["15", "0.5", "5m", "2h"]
    with pytest.raises(click.UsageError, match="not a length of time"):
        Step().convert("often", None, None)
