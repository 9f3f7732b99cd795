"""Which hashes of values are counted, from how many values have how many spans."""

from __future__ import annotations

import pytest

from tael.storage.clickhouse.traceql import frequent


def test_the_frequent_ones_and_those_as_frequent_as_the_last() -> None:
    """Of either side, each hash once; a key without values has none."""
    rows = [(0, False, 9, 1, [1]), (0, False, 5, 2, [2, 3]), (0, False, 4, 1, [4]), (0, True, 3, 1, [2]), (0, True, 1, 1, [5])]
    assert frequent.frequent(rows, 2, 2) == [[1, 2, 3, 5], []]


def test_too_many_as_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not known by a part of them, unless there are enough without them."""
    monkeypatch.setattr(frequent, "MOST_ALIKE", 2)
    rows = [(0, False, 9, 1, [1]), (0, False, 1, 3, [2, 3]), (1, False, 9, 1, [1]), (1, True, 1, 3, [2, 3])]
    assert frequent.frequent(rows, 2, 1) == [[1], None]
