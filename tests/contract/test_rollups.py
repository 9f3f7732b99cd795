"""Hours of samples rolled up in a real bucket, and what PromQL reads of them: over whole buckets the same as of the samples themselves."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from services.compactor.setbacks import ATTEMPTS
from services.query.promql.engine import EngineOptions, Outcome, PromqlEngine, Query
from tael.errors import TaelError, Unavailable
from tael.model.histogram import Histograms
from tael.model.series import STALE
from tael.vectors.histograms import text as histogram_text
from tael.vectors.values import Steps, Vector
from tests.support.cold import Cold, Crash
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer
from tests.support.series import MemorySeries, Sample, StoredSeries
from tests.support.storage import HotTier, open_tier

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
APPROXIMATE = (
    ": approximate there; rate, increase, delta and sum, avg, min, max and count over time, and instant selectors, are exact where start, "
    "step and range are multiples of 5m"
)
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


async def test_whole_buckets(both: Both) -> None:
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


async def test_other_windows(both: Both) -> None:
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
    """Three hours of a native histogram that is reset, said to be reset, ends and begins again, and changes its schema and its zero bucket."""
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


async def test_native_histograms(both: Both) -> None:
    """Two hours rolled up and one that is not: over whole buckets everything is as of the histograms, resets, schemas and all, from few of them."""
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


async def test_days_are_files(both: Both) -> None:
    """What was an hour's file each is one, of series and exemplars too; nobody sees a difference, nor late rows twice, and a year is a few hundred files."""
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


async def test_a_histogram_that_comes_late_is_beside_the_others(both: Both) -> None:
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


async def test_what_comes_late_stays_beside_a_rollup(both: Both) -> None:
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


async def test_a_late_sample_of_a_counter_is_no_reset(both: Both) -> None:
    """A rollup's samples on both sides of it are not known, so it neither follows the rollup's last one nor comes before the next bucket's."""
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


async def test_a_file_that_cannot_be_read_holds_no_later_hour_up(both: Both) -> None:
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
