"""The spool that holds request bodies."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.hotnode.spool import Budget, Spool

PIECES = [b"12345", b"6" * 100_000, b"7" * 5_000_000, b"end"]
WHOLE = b"".join(PIECES)


@pytest.mark.parametrize("pieces", [PIECES[:1], PIECES[:2], PIECES])
@pytest.mark.parametrize("budget_bytes", [0, 100_000, 1 << 30])
@pytest.mark.parametrize("front", [b"", b"before"])
def test_gives_back_what_was_appended(tmp_path: Path, pieces: list[bytes], budget_bytes: int, front: bytes) -> None:
    """Small or large, in memory or spilled, whole or from a given byte."""
    spool = Spool(Budget(budget_bytes), tmp_path)
    for piece in pieces:
        spool.append(piece)
    spool.prepend(front)
    whole = front + b"".join(pieces)
    assert spool.size == len(whole)
    for skip in (0, 3, 9, 70_000):
        assert b"".join(spool.chunks(skip)) == whole[skip:]
        with spool.as_file(skip) as path:
            assert Path(path).read_bytes() == whole[skip:]
    assert spool.start(8) == whole[:8]
    assert spool.start(1 << 30) == whole
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_memory_is_taken_and_given_back(tmp_path: Path) -> None:
    """Beyond the budget everything moves to a file, and the budget is free again."""
    budget = Budget(200_000)
    spool = Spool(budget, tmp_path)
    spool.append(b"x" * 150_000)
    assert not budget.take(100_000)
    spool.append(b"y" * 100_000)
    assert budget.take(200_000)
    budget.give(200_000)
    spool.close()
    second = Spool(budget, tmp_path)
    second.append(b"x" * 150_000)
    second.close()
    assert budget.take(200_000)


def test_pieces_are_bounded(tmp_path: Path) -> None:
    """A body of any size can be read without holding all of it."""
    spool = Spool(Budget(1 << 30), tmp_path)
    for piece in PIECES:
        spool.append(piece)
    assert max(map(len, spool.chunks())) <= 4 << 20
    spool.close()
