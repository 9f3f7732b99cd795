"""Instants, durations, ids and cursors as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.api.compress import takes_gzip
from services.query.parameters import Parameters, parse_duration_ns, parse_instant_ns, parse_trace_id
from services.query.questions.cursor import decode_cursor, encode_cursor, query_digest
from services.query.turns import shard_timeout_seconds
from tael.errors import Rejected
from tael.model.time import ALL_TIME, TimeRange
from tael.storage.api import Cursor

SECOND = 10**9
INSTANT_NS = 1_790_000_000 * SECOND


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1790000000", INSTANT_NS),
        ("1790000000.25", INSTANT_NS + SECOND // 4),
        ("1790000000123", INSTANT_NS + 123_000_000),
        ("1790000000123456", INSTANT_NS + 123_456_000),
        ("1790000000123456789", INSTANT_NS + 123_456_789),
        ("2026-09-21T14:13:20Z", INSTANT_NS),
        ("2026-09-21t14:13:20.123456789z", INSTANT_NS + 123_456_789),
        ("2026-09-21 16:13:20.5+02:00", INSTANT_NS + SECOND // 2),
        ("2026-09-21T16:13:20 02:00", INSTANT_NS),
        ("0", 0),
        ("1969-12-31T23:59:59.5Z", -SECOND // 2),
    ],
)
def test_instants_are_read(text: str, ns: int) -> None:
    """RFC 3339 and numbers whose size determines the unit; an unescaped plus sign arrives as a space."""
    assert parse_instant_ns(text, where="start") == ns


@pytest.mark.parametrize(
    "text",
    ["", "now", "-5", "1e9", "2026-09-21", "20260921", "2026-09-21T14:13:20", "2026-02-30T00:00:00Z", "9" * 20, "9999-01-01T00:00:00Z"],
)
def test_an_invalid_instant_is_refused(text: str) -> None:
    """Including times without an offset, which are ambiguous."""
    with pytest.raises(Rejected, match=r"^start: .* is not an instant"):
        parse_instant_ns(text, where="start")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("15m", 900 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("2d", 172_800 * SECOND),
        ("1.5s", 1_500_000_000),
        ("5ms", 5_000_000),
        ("1w", 604_800 * SECOND),
    ],
)
def test_durations_are_read(text: str, ns: int) -> None:
    assert parse_duration_ns(text, where="last") == ns


@pytest.mark.parametrize("text", ["15", "m", "-5m", "5 m", "5M", "1h-5m", "0s", "99999999d", "1e3s"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"^last: "):
        parse_duration_ns(text, where="last")


def test_a_range_is_all_time_by_default() -> None:
    """One end may be open; ``last`` extends slightly beyond now, for clocks that run ahead."""

    def read(**given_: str) -> TimeRange:
        return Parameters(given_.items(), known=("last", "start", "end")).time_range(now_ns=INSTANT_NS)

    assert read() == read(start="", end="") == ALL_TIME
    assert read(start="5") == TimeRange(5 * SECOND, ALL_TIME.end_ns)
    assert read(end="5") == TimeRange(ALL_TIME.start_ns, 5 * SECOND)
    with pytest.raises(Rejected, match=r"^last: empty"):
        read(last="")
    assert read(last="1h") == TimeRange(INSTANT_NS - 3600 * SECOND, INSTANT_NS + 60 * SECOND)


def test_trace_ids_are_padded_on_the_left() -> None:
    assert parse_trace_id("ABCDEF0123456789") == b"\0" * 8 + bytes.fromhex("abcdef0123456789")


@given(
    st.builds(Cursor, st.integers(0, (1 << 64) - 1), st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8)),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.lists(st.tuples(st.text(), st.text())),
)
def test_a_cursor_comes_back(after: Cursor, start_ns: int, filters: list[tuple[str, str]]) -> None:
    """Unchanged, whatever the order of the filters, and safe in a URL."""
    time_range = TimeRange(start_ns, ALL_TIME.end_ns)
    text = encode_cursor(after, time_range, query_digest(filters))
    assert text.replace("-", "").replace("_", "").isalnum()
    assert decode_cursor(text, query_digest(filters[::-1])) == (after, time_range)


@given(st.text())
def test_a_damaged_cursor_is_refused(text: str) -> None:
    """It never crashes."""
    with pytest.raises(Rejected, match=r"^cursor: "):
        decode_cursor(text, query_digest([]))


def test_cursors_of_different_filters_differ() -> None:
    """Even if their concatenated texts would be equal."""
    assert query_digest([("a", "bc")]) != query_digest([("ab", "c")])


@pytest.mark.parametrize("timeout", [0.1, 0.3, 1, 30, 3600])
def test_shards_get_less_than_the_query(timeout: float) -> None:
    assert timeout / 2 <= shard_timeout_seconds(timeout) <= max(timeout / 2, timeout - 0.05)


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("br", False),
        ("identity", False),
    ],
)
def test_gzip_is_negotiated(header: str, takes: bool) -> None:  # one column of the table
    assert takes_gzip(header) is takes
