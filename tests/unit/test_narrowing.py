"""The pieces of a range that are searched for a page of its newest rows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tael.model.time import HOUR_NS, NS_PER_SECOND, TimeRange
from tael.storage.clickhouse.narrowing import Newest


@given(st.integers(1, 10**15), st.integers(1, 100 * HOUR_NS), st.lists(st.integers(0, 100), max_size=60), st.integers(1, 1000))
def test_pieces_are_the_range(start: int, length: int, found: list[int], missing: int) -> None:
    """Newest first, each instant in exactly one piece, whatever is found in them."""
    newest = Newest(TimeRange(start, start + length))
    pieces = []
    while (piece := newest.next()) is not None:
        pieces.append(piece)
        newest.had(found.pop() if found else 0, missing)
    assert (pieces[0].end_ns, pieces[-1].start_ns) == (start + length, start)
    assert all(later.start_ns == earlier.end_ns for later, earlier in pairwise(pieces))
    assert all(piece.start_ns < piece.end_ns for piece in pieces)


def test_a_piece_is_as_long_as_what_was_found_lets_expect() -> None:
    """Twice the estimate; the whole rest after a piece without rows."""
    newest = Newest(TimeRange(0, HOUR_NS))
    assert newest.next() == TimeRange(HOUR_NS - 10 * NS_PER_SECOND, HOUR_NS)
    newest.had(10, 40)
    assert newest.next() == TimeRange(HOUR_NS - 90 * NS_PER_SECOND, HOUR_NS - 10 * NS_PER_SECOND)
    newest.had(0, 40)
    assert newest.next() == TimeRange(0, HOUR_NS - 90 * NS_PER_SECOND)
    newest.had(0, 40)
    assert newest.next() is None


def test_an_empty_range_has_no_piece() -> None:
    """No statement is run."""
    assert Newest(TimeRange(5, 5)).next() is None


def test_an_empty_piece_is_followed_by_one_that_is_some_times_as_long() -> None:
    """Where reading the whole rest would cost too much."""
    newest = Newest(TimeRange(0, HOUR_NS), 60 * NS_PER_SECOND, 16)
    assert newest.next() == TimeRange(HOUR_NS - 60 * NS_PER_SECOND, HOUR_NS)
    newest.had(0, 40)
    assert newest.next() == TimeRange(HOUR_NS - 1020 * NS_PER_SECOND, HOUR_NS - 60 * NS_PER_SECOND)
