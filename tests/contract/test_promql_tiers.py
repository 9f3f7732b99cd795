"""Some of our PromQL scripts with every other sample in the cold tier: the engine's answers are those over samples in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tael.model.series import Labels
from tests.golden.test_promql_scripts import HERE
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer
from tests.support.promqltest import InMemory, run
from tests.support.series import Sample, StoredSeries
from tests.support.storage import HotTier, open_tier


@dataclass
class OneTenant:
    """A reader that asks for one tenant, whichever it is asked for."""

    reader: Any
    tenant: str

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.reader, name)
        return lambda _, *arguments, **named: method(self.tenant, *arguments, **named)


class InTiers(InMemory):
    """Series of a script's store under a tenant of its own."""

    def __init__(self, tier: HotTier) -> None:
        super().__init__()
        self._stored = StoredSeries(tier)
        self._stores = 0

    async def clear(self) -> None:
        """See Target."""
        self._stores += 1
        self.store = OneTenant(self._stored.reader, f"script-{self._stores}")  # type: ignore[assignment]  # it answers as one

    async def load(self, series: Sequence[tuple[Labels, Sequence[tuple[int, Sample]]]]) -> None:
        """See Target."""
        for labels, samples in series:
            if samples:
                self._stored.add(labels, samples, tenant=f"script-{self._stores}")
        await self._stored.flush()


@pytest.fixture
async def tier(shared_hot_node: HotNode, object_server: ObjectServer) -> AsyncIterator[HotTier]:  # it has to run
    async with open_tier([shared_hot_node], tiering="mixed", deadline_seconds=60) as opened:
        yield opened


@pytest.mark.parametrize("name", ["ranges", "buckets"])
async def test_scripts_over_tiers(tier: HotTier, name: str) -> None:
    score = await run(HERE / f"{name}.test", InTiers(tier))
    assert score.total
    assert not score.failures, "\n".join(score.failures)
