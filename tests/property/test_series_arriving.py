"""Samples that arrive in pieces: the same rows and blocks, wherever the answer was cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tael.errors import Unavailable
from tael.storage.clickhouse import native
from tael.storage.clickhouse.series import arriving
from tael.storage.clickhouse.series.arriving import Arriving

BLOCKS = st.lists(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**42), st.floats(allow_nan=False)), max_size=5), max_size=6)
ROW = np.dtype([("series", "<u8"), ("ts", "<i8"), ("value", "<f8")])


def block_of(rows: list[tuple[int, int, float]]) -> bytes:
    """A block of the Native format."""
    table = np.array(rows, ROW)
    types = {"series": "UInt64", "ts": "DateTime64(3, 'UTC')", "value": "Float64"}
    columns = [
        bytes([len(name)]) + name.encode() + bytes([len(kind)]) + kind.encode() + table[name].tobytes() for name, kind in types.items()
    ]
    return bytes([len(columns), len(rows)]) + b"".join(columns)


@given(BLOCKS, st.lists(st.integers(0, 2_000)), st.integers(1, 400))
def test_rows_are_the_same_wherever_an_answer_is_cut(blocks: list[list[tuple[int, int, float]]], cuts: list[int], together: int) -> None:
    """And a block never continues another one."""
    body = b"".join(map(block_of, blocks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arriving, "TOGETHER", together)
        found = Arriving()
        for begin, end in pairwise([0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]):
            found.take(body[begin:end])
        read = found.blocks()
    filled = [rows for rows in blocks if rows] or [[]]
    assert [list(zip(series.tolist(), times.tolist(), strict=True)) for series, times in read] == [
        [row[:2] for row in rows] for rows in filled
    ]
    series, times, values = found.columns
    assert list(zip(series.tolist(), times.tolist(), values.tolist(), strict=True)) == [row for rows in blocks for row in rows]


def test_a_large_block_is_not_looked_at_with_every_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look copies what has come of it."""
    looks: list[int] = []
    complete_blocks = native.complete_blocks

    def counted(body: bytes) -> Iterator[tuple[list[native.Column], int]]:
        looks.append(len(body))
        return complete_blocks(body)

    monkeypatch.setattr(arriving, "TOGETHER", 64)
    monkeypatch.setattr(native, "complete_blocks", counted)
    body, found = block_of([(0, time, 0.0) for time in range(100)]), Arriving()
    for at in range(len(body)):
        found.take(body[at : at + 1])
    assert len(found.blocks()[0][1]) == 100
    assert sum(looks) < 6 * len(body)


@given(BLOCKS.filter(any), st.data())
def test_an_answer_that_ends_early_is_refused(blocks: list[list[tuple[int, int, float]]], data: st.DataObject) -> None:
    """Wherever inside a block; and so is one that goes on with something else, but only at its end."""
    whole = block_of([row for rows in blocks for row in rows])
    cut = Arriving()
    cut.take(whole[: data.draw(st.integers(1, len(whole) - 1))])
    with pytest.raises(Unavailable, match="early"):
        cut.blocks()
    other = Arriving()
    other.take(whole + b"\x01\x01\x01c\x05Tuple\x00")
    other.take(whole)
    with pytest.raises(Unavailable, match="Tuple"):
        other.blocks()
