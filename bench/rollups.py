"""The size of rollups compared with samples, the speed of making them, and the cost of PromQL over both.

    python -m bench.rollups [--series 5000] [--hours 4]

Half of the series are counters that grow by whole numbers, half are gauges of three digits; a sample every 15 seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from services.query.promql.engine import EngineOptions, PromqlEngine, Query
from tael.cold.files import ColdFile
from tael.vectors.values import Steps, Vector
from tests.support.cold import Cold
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer, object_settings
from tests.support.series import StoredSeries
from tests.support.storage import HotTier, open_tier

START_MS, HOUR_MS, STEP_MS = 1_790_002_800_000, 3_600_000, 15_000
MINUTES_5 = 300_000
QUESTIONS = ("sum by (kind) (rate(bench[5m]))", "avg by (kind) (avg_over_time(bench[1h]))", "max by (kind) (bench)")
ROUNDS = 3


def samples(series: int, hours: int) -> Iterator[tuple[dict[str, str], list[tuple[int, float]]]]:
    """The labels and samples of each series; each series is scraped at its own offset within the 15 seconds, with a jitter of some
    milliseconds.
    """
    rng = np.random.default_rng(1)
    count = hours * HOUR_MS // STEP_MS
    for number in range(series):
        counter = number % 2 == 0
        moves = rng.poisson(20, count) if counter else rng.normal(0, 0.5, count).round(2)
        values = np.cumsum(moves).round(2) + (0 if counter else 500)
        times = START_MS + np.arange(count) * STEP_MS + rng.integers(0, STEP_MS - 10) + rng.integers(0, 5, count)
        labels = {"__name__": "bench", "kind": "counter" if counter else "gauge", "instance": f"10.0.{number // 250}.{number % 250}:9100"}
        yield labels, list(zip(times.tolist(), values.tolist(), strict=True))


async def fill(tier: HotTier, series: int, hours: int) -> None:
    """Write all of them."""
    store = StoredSeries(tier)
    for number, (labels, own) in enumerate(samples(series, hours), 1):
        store.add(labels, own)
        if number % 250 == 0:
            await store.flush()
    await store.flush()


async def ask(tier: HotTier, hours: int) -> dict[str, tuple[float, list[float]]]:
    """The minimum time of each query in milliseconds, and its values."""
    engine, found = PromqlEngine(StoredSeries(tier).reader, EngineOptions()), {}
    for text in QUESTIONS:
        query, took = Query(text, Steps(START_MS + HOUR_MS, START_MS + hours * HOUR_MS, MINUTES_5)), []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            outcome = await engine.run("t1", query, engine.parse(text))
            took.append((time.perf_counter() - started) * 1000)
        value = outcome.evaluated.value
        assert isinstance(value, Vector)
        found[text] = min(took), value.values.ravel().tolist()
    return found


async def files(cold: Cold) -> list[ColdFile]:
    """The files of samples."""
    manifest = await cold.manifests.load(await cold.manifests.read(0), ("samples",))
    return manifest.files("samples")


async def measure(tier: HotTier, series: int, hours: int) -> None:
    """Write, roll, query, roll up, and query again."""
    assert tier.cold is not None
    tier.rolls = False
    await fill(tier, series, hours)
    started = time.perf_counter()
    await tier.cold.roll()
    rolled = time.perf_counter() - started
    raw, before = await files(tier.cold), await ask(tier, hours)
    started = time.perf_counter()
    await tier.cold.roll_up()
    took = time.perf_counter() - started
    rollups, after = await files(tier.cold), await ask(tier, hours)
    count = sum(file.rows for file in raw)
    raw_bytes, rollup_bytes = (sum(file.bytes for file in some) for some in (raw, rollups))
    print(
        f"{count} samples of {series} series in {hours} hours; rolled in {rolled:.1f} s, rolled up in {took:.1f} s: {count / took:,.0f} samples/s"
    )
    rows = sum(file.rows for file in rollups)
    print(
        f"raw {raw_bytes / count:.2f} bytes a sample; rolled up {rollup_bytes / count:.3f} ({rows} rows of {rollup_bytes / rows:.1f} bytes)"
    )
    for text in QUESTIONS:
        (raw_ms, wanted), (rollup_ms, found) = before[text], after[text]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
        print(f"{text}: {raw_ms:.0f} ms over samples, {rollup_ms:.0f} ms over rollups, the same values")


async def main() -> None:
    """Run everything on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=5_000)
    parser.add_argument("--hours", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = ObjectServer(Path(folder) / "s3")
        server.start()
        try:
            with HotNode(Path(folder) / "node", environment=object_settings()) as node:
                async with open_tier([node], tiering="cold", deadline_seconds=120) as tier:
                    await measure(tier, options.series, options.hours)
        finally:
            server.stop()


if __name__ == "__main__":
    asyncio.run(main())
