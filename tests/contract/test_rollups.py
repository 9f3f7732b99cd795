"""Hours of samples rolled up in a real bucket, and what PromQL reads of them: over whole buckets the same as of the samples themselves."""

from __future__ import annotations

import math
import random

import pytest
from prometheus_client import REGISTRY

from services.compactor.setbacks import ATTEMPTS
from tael.errors import TaelError, Unavailable
from tael.model.series import STALE
from tests.support.cold import Crash
from tests.support.rollups import EXACT_OF_HISTOGRAMS, HOUR_MS, MINUTE_MS, T0, Both, infos, observed, same, values

APPROXIMATE = (
    ": approximate there; rate, increase, delta and sum, avg, min, max and count over time, and instant selectors, are exact where start, "
    "step and range are multiples of 5m"
)


EXACT = [
    "x_total",
    "sum by (job) (rate(x_total[5m]))",
    "rate(x_total[1h])",
    "increase(x_total[10m])",
    "delta(x_total[15m])",
    "sum_over_time(x_total[5m])",
    "avg_over_time(x_total[20m])",
    "min_over_time(x_total[5m])",
    "max_over_time(x_total[1h])",
    "count_over_time(x_total[10m])",
]


def jagged(chance: random.Random) -> list[tuple[int, float]]:
    """Three hours of a counter with resets, gaps, ends, times on and off the minute, and values that are no numbers."""
    value, samples = 0.0, []
    for at in range(0, 3 * HOUR_MS, 15_000):
        value = 0.0 if chance.random() < 0.01 else value + chance.random() * 10
        if chance.random() < 0.95:
            samples.append((T0 + at + (0 if chance.random() < 0.5 else chance.randrange(14_000)), value))
        if chance.random() < 0.01:
            samples.append((T0 + at + 14_998, chance.choice([math.nan, math.inf, -math.inf])))
        if chance.random() < 0.01:
            samples.append((T0 + at + 14_999, STALE))
    return samples


async def test_queries_over_whole_buckets_are_exact(both: Both) -> None:
    """Two hours rolled up and one that is not, within each question; over whole buckets nobody sees a difference but by the info."""
    chance = random.Random(7)
    for job in ("a", "b"):
        both.add("x_total", jagged(chance), job=job)
    both.add("plain_total", [(T0 + at, at / 1000) for at in range(0, 3 * HOUR_MS, 60_000)])
    assert await both.rolled_up(2) == 2
    for text in EXACT:
        for step in (5, 60):
            found, wanted = await both.ask(text, 5 * MINUTE_MS, 3 * HOUR_MS, step * MINUTE_MS)
            same(found, wanted)
            assert infos(found) == ["uses 5-minute rollups before 2026-09-21T17:00:00Z"], text
    found, wanted = await both.ask("rate(plain_total[5m])", 2 * HOUR_MS + 5 * MINUTE_MS, 3 * HOUR_MS, MINUTE_MS)
    same(found, wanted)
    assert infos(found) == []


async def test_queries_over_parts_of_buckets_are_approximate_and_say_so(both: Both) -> None:
    """Nothing is empty that had samples, what is approximate says so, and behind the rollups everything is as it was."""
    both.add("x_total", [(T0 + at, at / 1000) for at in range(0, 3 * HOUR_MS, 15_000)])
    both.add("gone", [(T0, 1.0), (T0 + 20 * MINUTE_MS + 10_000, 2.0), (T0 + 20 * MINUTE_MS + 25_000, STALE)])
    assert await both.rolled_up(2) == 2
    start, end = 10 * MINUTE_MS + 20_000, 3 * HOUR_MS - MINUTE_MS
    for text, wanted in (("rate(x_total[1m])", 1.0), ("increase(x_total[2m])", 120.0), ("count_over_time(x_total[1m])", 4.0)):
        found, _ = await both.ask(text, start, end, MINUTE_MS)
        assert values(found) == [pytest.approx(wanted)] * ((end - start) // MINUTE_MS + 1), text
        assert infos(found) == [f"uses 5-minute rollups before 2026-09-21T17:00:00Z{APPROXIMATE}"]
    found, wanted_ = await both.ask("x_total", start, end, MINUTE_MS)
    late = [there - here for here, there in zip(values(found), values(wanted_), strict=True)]
    assert max(late) < 300
    assert set(late[-59:]) == {0.0}
    for text in ("quantile_over_time(0.5, x_total[1h])", "changes(x_total[1h])", "timestamp(x_total)", "x_total @ 1790006460"):
        found, _ = await both.ask(text, start, end, MINUTE_MS)
        assert infos(found)[-1].endswith(APPROXIMATE), text
        assert all(found.evaluated.value.present.ravel())  # type: ignore[union-attr]  # a vector
    found, _ = await both.ask("rate(x_total[1m])", start, start + 10 * MINUTE_MS, 15_000)
    assert values(found) == [pytest.approx(1.0)] * 41
    found, wanted_ = await both.ask("gone", 19 * MINUTE_MS, 22 * MINUTE_MS, 5_000)
    same(found, wanted_)


async def test_days_are_files(both: Both) -> None:
    """What was an hour's file each is one, of series and exemplars too; nobody sees a difference, nor late rows twice, and a year is a few
    hundred files.
    """
    chance = random.Random(5)
    for job in ("a", "b"):
        both.add("x_total", jagged(chance), job=job)
        both.add("h", observed(chance), job=job)
    assert await both.rolled_up(3) == 6
    assert await both.cold.gather((T0 + 3 * HOUR_MS) * 10**6) == 0, "the day is not over"
    for place, left in (("merged", 3), ("replaced", 2)):
        both.cold.crash_at = place
        with pytest.raises(Crash):
            await both.cold.gather()
        both.cold.crash_at = ""
        files = [file for table in ("samples", "histograms", "series") for file in (await both.cold.manifests.read(0)).files(table)]
        assert len([file for file in files if file.hours == 1]) == 3 * left
    assert await both.cold.gather() == 2
    manifest = await both.cold.manifests.read(0)
    assert [file.hours for table in ("samples", "histograms", "series") for file in manifest.files(table)] == [24] * 3
    late = [(T0 + HOUR_MS + 7 * MINUTE_MS + 1, 3.0)]
    added_up = ("sum_over_time(x_total[5m])", "count_over_time(x_total[10m])", *EXACT_OF_HISTOGRAMS[:2])
    for rolls in (False, True):
        for text in (*added_up, *(() if rolls else EXACT[1:4])):
            found, wanted = await both.ask(text, 5 * MINUTE_MS, 3 * HOUR_MS, 5 * MINUTE_MS)
            same(found, wanted)
        if not rolls:
            both.add("x_total", late, job="a")
            both.add("other", late)
            await both.stored.flush()
            await both.cold.roll()
            assert await both.cold.roll_up() == 0
            assert await both.cold.gather() == 1, "of series alone"


async def test_late_samples_are_kept_beside_a_rollup(both: Both) -> None:
    """As samples, hot and cold, and once; even at the time where the rollup's row stands."""
    both.add("up", [(T0 + at, 1.0) for at in range(0, HOUR_MS, 15_000) if at % (5 * MINUTE_MS)])
    assert await both.rolled_up(1) == 1
    both.add("up", [(T0 + 5 * MINUTE_MS, 7.0), (T0 + 7 * MINUTE_MS + 1, 9.0)])
    for rolls in (False, True):
        await both.stored.flush()
        if rolls:
            await both.cold.roll()
            assert await both.cold.roll_up() == 0
        for text in ("up", "sum_over_time(up[5m])", "count_over_time(up[10m])", "max_over_time(up[5m])"):
            found, wanted = await both.ask(text, 5 * MINUTE_MS, 55 * MINUTE_MS, 5 * MINUTE_MS)
            same(found, wanted)


async def test_a_late_sample_of_a_counter_is_not_a_reset(both: Both) -> None:
    """A rollup's samples on both sides of it are not known, so it neither follows the rollup's last one nor comes before the
    next bucket's.
    """
    both.add("x_total", [(T0 + at, at / 1000) for at in range(0, HOUR_MS, 15_000)])
    assert await both.rolled_up(1) == 1
    both.add("x_total", [(T0 + at, at / 1000) for at in (7 * MINUTE_MS + 1, 8 * MINUTE_MS + 1)])
    await both.stored.flush()
    for text in ("increase(x_total[5m])", "rate(x_total[30m])"):
        found, wanted = await both.ask(text, 5 * MINUTE_MS, 55 * MINUTE_MS, 5 * MINUTE_MS)
        same(found, wanted)


async def test_a_rollup_can_be_made_again(both: Both) -> None:
    """An owner that dies before it is committed leaves a file that nobody reads; one that is not whole is not committed."""
    both.add("up", [(T0 + at, 1.0) for at in range(0, HOUR_MS, 15_000)])
    with pytest.raises(Crash):
        await both.rolled_up(1, crash_at="rolled up")
    for attempt in range(2):
        found, wanted = await both.ask("sum_over_time(up[10m])", 5 * MINUTE_MS, 55 * MINUTE_MS, MINUTE_MS if not attempt else 5 * MINUTE_MS)
        same(found, wanted)
        assert (infos(found) == []) == (attempt == 0)
        assert await both.cold.roll_up() == 1 - attempt
    [file] = [one for one in (await both.cold.manifests.read(0)).files("samples") if one.resolution]
    assert (file.rows, file.resolution, file.format) == (13, 300, 2)


async def test_a_marker_that_is_alone_in_its_bucket_counts_once(both: Both) -> None:
    """As when a series ended a while after its last sample."""
    both.add("up", [(T0 + 1_000, 1.0), (T0 + 20 * MINUTE_MS, STALE)])
    assert await both.rolled_up(1) == 1
    [file] = (await both.cold.manifests.read(0)).files("samples")
    assert (file.rows, file.resolution) == (2, 300)


async def test_a_rollup_that_lacks_samples_is_not_committed(both: Both) -> None:
    both.add("up", [(T0 + at, 1.0) for at in range(0, HOUR_MS, 15_000)])
    await both.stored.flush()
    await both.cold.roll()
    [file] = (await both.cold.manifests.read(0)).files("samples")
    clickhouse = both.tier.clickhouses[0]
    url = both.cold.bucket_url + file.key
    await clickhouse.command(
        f"INSERT INTO FUNCTION s3('{url}', 'Parquet') SELECT * FROM s3('{url}', 'Parquet') LIMIT 9 SETTINGS s3_truncate_on_insert = 1"
    )
    with pytest.raises(Unavailable, match="was made of 9 samples, not the 240 of"):
        await both.cold.roll_up()
    assert (await both.cold.manifests.read(0)).files("samples") == [file]


async def test_an_unreadable_file_does_not_delay_later_hours(both: Both) -> None:
    """It is left alone after some attempts, and rolled up with the others once it is whole again."""
    both.add("up", [(T0 + at, 1.0) for at in range(0, 3 * HOUR_MS, 15_000)])
    await both.stored.flush()
    await both.cold.roll()
    bad, *_ = (await both.cold.manifests.read(0)).files("samples")
    clickhouse, url = both.tier.clickhouses[0], both.cold.bucket_url + bad.key
    kept = f"{both.cold.bucket_url}kept.parquet"
    write = "INSERT INTO FUNCTION s3('{}', '{}') SELECT {} SETTINGS s3_truncate_on_insert = 1"
    await clickhouse.command(write.format(kept, "Parquet", f"* FROM s3('{url}', 'Parquet')"))
    await clickhouse.command(write.format(url, "RawBLOB", "'no file at all'"))
    for _ in range(ATTEMPTS):
        with pytest.raises(TaelError):
            await both.cold.roll_up()
    assert await both.cold.roll_up() == 2
    assert [file.resolution for file in (await both.cold.manifests.read(0)).files("samples")] == [0, 300, 300]
    assert REGISTRY.get_sample_value("tael_compactor_set_aside", {"shard": "0", "work": "roll up"}) == 1
    await clickhouse.command(write.format(url, "Parquet", f"* FROM s3('{kept}', 'Parquet')"))
    both.cold.later()
    assert await both.cold.roll_up() == 1
    found, wanted = await both.ask("sum_over_time(up[10m])", 5 * MINUTE_MS, 3 * HOUR_MS - 5 * MINUTE_MS, 5 * MINUTE_MS)
    same(found, wanted)
