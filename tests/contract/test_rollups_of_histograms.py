"""Hours of native and classic histograms rolled up in a real bucket, and what PromQL reads of them."""

from __future__ import annotations

import random

import pytest

from tael.vectors.histograms import text as histogram_text
from tests.support.rollups import EXACT_OF_HISTOGRAMS, HOUR_MS, MINUTE_MS, T0, Both, infos, observed, same, values


async def test_native_histograms(both: Both) -> None:
    """Two hours rolled up and one that is not: over whole buckets everything is as of the histograms, resets, schemas and all, from few of
    them.
    """
    chance = random.Random(9)
    for job in ("a", "b"):
        both.add("h", observed(chance), job=job)
    await both.rolled_up(2)
    for text in EXACT_OF_HISTOGRAMS:
        for step in (5, 60):
            found, wanted = await both.ask(text, 5 * MINUTE_MS, 3 * HOUR_MS, step * MINUTE_MS)
            same(found, wanted)
            assert infos(found) == ["uses 5-minute rollups before 2026-09-21T17:00:00Z"], text
    files = (await both.cold.manifests.read(0)).files("histograms")
    assert [file.resolution for file in files] == [300, 300, 0]
    assert files[0].rows < 200
    assert files[2].rows > 400


async def test_other_windows_of_histograms(both: Both) -> None:
    """They are of whole buckets, scaled; what adds all of them up counts those that were left out."""
    both.add(
        "h",
        [
            (T0 + at, histogram_text.parse(f"{{{{schema:0 count:{at // 1000 + 2} sum:{at / 1000} buckets:[1 {at // 1000 + 1}]}}}}"))
            for at in range(0, 3 * HOUR_MS, 15_000)
        ],
    )
    assert await both.rolled_up(2) == 2
    start, end = 10 * MINUTE_MS + 20_000, 3 * HOUR_MS - MINUTE_MS
    for text, wanted in (
        ("histogram_count(rate(h[1m]))", 1.0),
        ("histogram_count(increase(h[2m]))", 120.0),
        ("count_over_time(h[1m])", 4.0),
        ("histogram_sum(irate(h[5m]))", 1.0),
    ):
        for step in (MINUTE_MS, 15_000):
            found, _ = await both.ask(text, start, end if step == MINUTE_MS else start + 5 * MINUTE_MS, step)
            assert values(found) == pytest.approx([wanted] * len(values(found))), text
            [told] = infos(found)
            assert told.startswith("uses 5-minute rollups before 2026-09-21T1")
            assert ":00:00Z: approximate there; " in told
            assert "of native histograms" in told
    for text in ("histogram_sum(avg_over_time(h[10m]))", "histogram_sum(sum_over_time(h[10m]))"):
        found, known = await both.ask(text, 15 * MINUTE_MS, end, 5 * MINUTE_MS)
        assert values(found) == pytest.approx(values(known), rel=0.02)
        assert len(infos(found)) == 1
    found, known = await both.ask("histogram_count(rate(h[1m]))", 2 * HOUR_MS + MINUTE_MS, end, MINUTE_MS)
    same(found, known)
    assert infos(found) == []


async def test_a_late_histogram_is_kept_beside_a_rollup(both: Both) -> None:
    """In its place in time; one that is sent again replaces the one that stayed, hot and cold, and what that stood for is forgotten."""
    at = range(0, HOUR_MS, 15_000)
    both.add("h", [(T0 + one, histogram_text.parse(f"{{{{schema:0 count:{one // 1000} sum:1 buckets:[{one // 1000}]}}}}")) for one in at])
    assert await both.rolled_up(1) == 1
    late = histogram_text.parse("{{schema:0 count:602 sum:7 buckets:[602]}}")
    both.add(
        "h",
        [(T0 + 10 * MINUTE_MS + 2_000, late), (T0 + 15 * MINUTE_MS, histogram_text.parse("{{schema:0 count:900 sum:8 buckets:[900]}}"))],
    )
    for rolls in (False, True):
        await both.stored.flush()
        if rolls:
            await both.cold.roll()
            assert await both.cold.roll_up() == 0
        for text, until in (("histogram_sum(h)", 55), ("histogram_count(h)", 55), ("count_over_time(h[5m])", 10)):
            found, wanted = await both.ask(text, 5 * MINUTE_MS, until * MINUTE_MS, 5 * MINUTE_MS)
            same(found, wanted)
        found, wanted = await both.ask("histogram_count(rate(h[10m]))", 10 * MINUTE_MS, 55 * MINUTE_MS, 5 * MINUTE_MS)
        assert values(found) == pytest.approx(values(wanted), rel=0.1)


async def test_classic_histograms_are_counters(both: Both) -> None:
    """Their quantiles are those of the samples."""
    chance = random.Random(3)
    counts = [0, 0, 0]
    samples: dict[str, list[tuple[int, float]]] = {le: [] for le in ("0.1", "1", "+Inf")}
    for at in range(0, 3 * HOUR_MS, 15_000):
        counts = [0, 0, 0] if chance.random() < 0.01 else [count + chance.randrange(3) * place for place, count in enumerate(counts, 1)]
        for le, count in zip(samples, counts, strict=True):
            samples[le].append((T0 + at, float(count)))
    for le, own in samples.items():
        both.add("c_bucket", own, le=le)
    assert await both.rolled_up(2) == 2
    for text in ("histogram_quantile(0.9, sum by (le) (rate(c_bucket[30m])))", "histogram_quantile(0.5, increase(c_bucket[5m]))"):
        found, wanted = await both.ask(text, 5 * MINUTE_MS, 3 * HOUR_MS, 5 * MINUTE_MS)
        same(found, wanted)
        assert infos(found) == ["uses 5-minute rollups before 2026-09-21T17:00:00Z"]
