"""The same series in a hot tier that rolls and in memory, for tests of what rollups answer."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from services.query.promql.engine import EngineOptions, Outcome, PromqlEngine, Query
from tael.model.histogram import Histograms
from tael.model.series import STALE
from tael.vectors.histograms import text as histogram_text
from tael.vectors.values import Steps, Vector
from tests.support.cold import Cold
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer
from tests.support.series import MemorySeries, Sample, StoredSeries
from tests.support.storage import HotTier, open_tier

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
T0 = 1_790_002_800_000
"""A full hour."""
assert T0 % HOUR_MS == 0


@dataclass
class Both:
    """The same series in a hot tier that rolls and in memory."""

    tier: HotTier
    stored: StoredSeries
    memory: MemorySeries

    def add(self, name: str, samples: Sequence[tuple[int, Sample]], **labels: str) -> None:
        for store in (self.stored, self.memory):
            store.add({"__name__": name, **labels}, samples)

    @property
    def cold(self) -> Cold:
        assert self.tier.cold is not None
        return self.tier.cold

    async def rolled_up(self, hours: int, crash_at: str = "") -> int:
        """Write, roll everything, and roll up the first hours; how many files."""
        await self.stored.flush()
        await self.cold.roll()
        self.cold.crash_at = crash_at
        try:
            return await self.cold.roll_up((T0 + hours * HOUR_MS) * 10**6)
        finally:
            self.cold.crash_at = ""

    async def ask(self, text: str, start: int, end: int, step: int) -> tuple[Outcome, Outcome]:
        """What is said over the tiers, and over memory."""
        query = Query(text, Steps(T0 + start, T0 + end, step))
        found = []
        for reader in (self.stored.reader, self.memory):
            engine = PromqlEngine(reader, EngineOptions())
            found.append(await engine.run("t1", query, engine.parse(text)))
        return found[0], found[1]


@pytest.fixture
async def both(shared_hot_node: HotNode, object_server: ObjectServer) -> AsyncIterator[Both]:  # it has to run
    async with open_tier([shared_hot_node], tiering="cold", deadline_seconds=60) as tier:
        tier.rolls = False
        yield Both(tier, StoredSeries(tier), MemorySeries())


def infos(outcome: Outcome) -> list[str]:
    """Without their kind and the place in the query."""
    return [text.removeprefix("PromQL info: ").rpartition(" (")[0] for text in outcome.evaluated.notes.infos if "rollups" in text]


def values(outcome: Outcome) -> list[float]:
    """Of the only series, one at every step."""
    value = outcome.evaluated.value
    assert isinstance(value, Vector)
    assert value.present.all()
    [row] = value.values.tolist()
    return row  # type: ignore[no-any-return]  # of a matrix of floats


def same(found: Outcome, wanted: Outcome) -> None:
    a, b = found.evaluated.value, wanted.evaluated.value
    assert isinstance(a, Vector)
    assert isinstance(b, Vector)
    assert list(a.labels) == list(b.labels)
    for own, other, here, there in zip(a.values.ravel(), b.values.ravel(), a.present.ravel(), b.present.ravel(), strict=True):
        assert here == there
        assert not here or math.isclose(own, other, rel_tol=1e-12, abs_tol=1e-12) or (math.isnan(own) and math.isnan(other))


EXACT_OF_HISTOGRAMS = [
    "histogram_quantile(0.9, rate(h[30m]))",
    "histogram_quantile(0.5, sum(rate(h[5m])))",
    "histogram_count(increase(h[10m]))",
    "histogram_sum(rate(h[1h]))",
    "histogram_avg(rate(h[20m]))",
    "histogram_fraction(0, 2, rate(h[15m]))",
    "histogram_count(delta(h[15m]))",
    "count_over_time(h[10m])",
    "histogram_sum(h)",
    "histogram_quantile(0.9, h)",
]


def observed(chance: random.Random) -> list[tuple[int, Histograms | float]]:
    """Three hours of a native histogram that is reset, said to be reset, ends and begins again, and changes its schema and its
    zero bucket.
    """
    samples: list[tuple[int, Histograms | float]] = []
    schema, zero, counts = 2, 0.001, [0.0] * 8
    for at in range(0, 3 * HOUR_MS, 15_000):
        hint = ""
        if chance.random() < 0.01:
            schema, zero = chance.choice([(2, 0.001), (0, 0.001), (2, 0.5), (3, 0.001)])
            counts = [0.0] * 8 if chance.random() < 0.5 else counts
        if chance.random() < 0.01:
            counts, hint = [0.0] * 8, chance.choice(["", " counter_reset_hint:reset"])
        counts = [count + chance.choice([0, 0, 1, 5]) for count in counts]
        buckets = " ".join(map(str, counts[1:]))
        text = f"{{{{schema:{schema} count:{sum(counts)} sum:{sum(counts) * 1.5} z_bucket:{counts[0]} z_bucket_w:{zero}{hint} offset:-2 buckets:[{buckets}]}}}}"
        if chance.random() < 0.95 and not HOUR_MS < at < HOUR_MS + 12 * MINUTE_MS:
            samples.append((T0 + at + (0 if chance.random() < 0.5 else chance.randrange(14_000)), histogram_text.parse(text)))
        if chance.random() < 0.01:
            samples.append((T0 + at + 14_999, STALE))
    return samples
