"""The first rounds of the soak (`make soak`), with a seed that is always the same; its rounds are decided by the seed alone."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from bench.soak import FILL, FLOOD, FREEZE, KILL, rounds, soak


def test_a_seed_decides_the_rounds() -> None:
    """The same again for the same seed; every kind of fault is met within four rounds."""
    assert list(islice(rounds(7), 20)) == list(islice(rounds(7), 20)) != list(islice(rounds(8), 20))
    for seed in range(20):
        assert {fault.kind for planned in islice(rounds(seed), 4) for fault in planned.faults} == {KILL, FREEZE, FILL, FLOOD}


@pytest.mark.system
@pytest.mark.timeout(960)
def test_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    """Through kills, a freeze, a full disk, a flood and WAL files that lost their tail."""
    assert soak(tmp_path, seed=3, seconds=0) > 0
