"""Where the writer cuts a batch into inserts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.writer.plan import intent_of
from tael.model.signals import TRACES
from tael.wal.api import Entry


def _entries(items: list[int]) -> list[Entry]:
    return [Entry(sequence, TRACES, count, b"") for sequence, count in enumerate(items, 7)]


def test_a_batch_that_fits_is_one_insert() -> None:
    assert intent_of(_entries([10, 20, 30]), 60).ranges() == [(7, 9)]


def test_a_larger_batch_is_cut_about_evenly() -> None:
    assert intent_of(_entries([10] * 12), 60).ranges() == [(7, 12), (13, 18)]


def test_an_entry_is_never_cut() -> None:
    assert intent_of(_entries([500]), 60).ranges() == [(7, 7)]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(1, 500))
def test_the_inserts_hold_every_entry_once_in_order(items: list[int], most: int) -> None:
    entries = _entries(items)
    ranges = intent_of(entries, most).ranges()
    assert [sequence for first, last in ranges for sequence in range(first, last + 1)] == [entry.sequence for entry in entries]
    sizes = [sum(entry.items for entry in entries if first <= entry.sequence <= last) for first, last in ranges]
    assert all(size <= most + max(items) for size in sizes)
