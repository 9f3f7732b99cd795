"""Increments become running totals, even if they are repeated, late, early or forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import add

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.writer.bisect import halve, normalise
from services.ingest.writer.deltas import Running, batch_id, read_increments
from services.ingest.writer.prepare import DeltaPreparation
from tael.metrics.accumulate import add_histogram, upper_bound
from tael.model.lanes import INCREMENT_HOURS
from tael.model.signals import METRICS, TOTALS
from tael.pb.metrics_pb2 import Deltas, Histogram, MetricBatch, TotalBatch
from tael.storage.api import TOTAL_BETWEEN, Total
from tael.wal import codec
from tael.wal.api import Entry

Row = tuple[int, int, float]
"""Series, time and amount or total."""
ARRIVED_MS = 1_000
SERIES = 3


def body(rows: Sequence[Row], histograms: Sequence[Histogram] = (), tenant: str = "t") -> bytes:
    """A body of the WAL with these increments."""
    deltas = Deltas(
        metric=[1] * len(rows),
        series=[series for series, _, _ in rows],
        time_ms=[time_ms for _, time_ms, _ in rows],
        value=[amount for _, _, amount in rows],
        histograms=histograms,
    )
    return codec.encode(tenant, ARRIVED_MS * 1_000_000, MetricBatch(deltas=deltas).SerializeToString())


def added(totals: Running[float], batch: int, *bodies: bytes) -> list[Row]:
    """The totals that a batch of the WAL becomes."""
    found = [row for increments in read_increments(bodies) for row in totals.add(increments.samples, batch)]
    return [(row.ids[1], row.total.time_ms, row.total.value) for row in found]


def test_increments_add_up_in_the_order_of_their_times() -> None:
    """Across entries of a batch and across batches."""
    totals = Running(100, add)
    assert added(totals, 2, body([(1, 20, 2.0), (2, 10, 5.0)]), body([(1, 10, 1.0)])) == [(2, 10, 5.0), (1, 10, 1.0), (1, 20, 3.0)]
    assert added(totals, 3, body([(1, 30, 4.0)])) == [(1, 30, 7.0)]


def test_increments_of_one_time_and_late_ones_count() -> None:
    """At the time of the running total."""
    totals = Running(100, add)
    assert added(totals, 2, body([(1, 20, 2.0), (1, 20, 3.0)])) == [(1, 20, 5.0)]
    assert added(totals, 3, body([(1, 10, 1.0)])) == [(1, 20, 6.0)]
    assert added(totals, 4, body([(1, 15, 1.0), (1, 20, 1.0), (1, 30, 1.0)])) == [(1, 30, 9.0)]


def test_an_increment_of_the_future_counts_at_its_arrival() -> None:
    """So that later increments are not before it."""
    totals = Running(100, add)
    assert added(totals, 2, body([(1, 86_400_000, 2.0)])) == [(1, ARRIVED_MS, 2.0)]


def test_increments_of_days_before_count_in_few_hours() -> None:
    """At the beginning of the window, within which increments keep their times; histograms' too."""
    hour_ms = 3_600_000
    arrived_ms = 1_000 * hour_ms + 5
    deltas = Deltas(
        metric=[1] * 900,
        series=[1] * 900,
        time_ms=[arrived_ms - back * hour_ms for back in range(900)],
        value=[1.0] * 900,
        histograms=[Histogram(series=2, time_ms=hour_ms)],
    )
    [found] = read_increments([codec.encode("t", arrived_ms * 1_000_000, MetricBatch(deltas=deltas).SerializeToString())])
    totals = [(row.total.time_ms, row.total.value) for row in Running(100, add).add(found.samples, 2)]
    since_ms = (1_000 - INCREMENT_HOURS) * hour_ms
    assert [time_ms for time_ms, _ in totals] == [since_ms, *(arrived_ms - back * hour_ms for back in reversed(range(INCREMENT_HOURS + 1)))]
    assert (totals[0][1], totals[-1]) == (900 - INCREMENT_HOURS - 1, (arrived_ms, 900))
    assert found.histograms[0].time_ms == since_ms


def test_a_batch_counts_once() -> None:
    """For each of its series by itself."""
    totals = Running(100, add)
    totals.learn({1: Total(10, 5.0, 7)})
    assert added(totals, 7, body([(1, 20, 2.0), (2, 20, 1.0)])) == [(2, 20, 1.0)]
    assert added(totals, 7, body([(1, 20, 2.0), (2, 20, 1.0)])) == []
    assert added(totals, 8, body([(1, 20, 2.0)])) == [(1, 20, 7.0)]


def test_batches_have_ids_of_their_own() -> None:
    """Different from the ids of plain samples and of samples in between."""
    ids = {batch_id(f"0.7:{first}-{first + 9}") for first in range(1000)}
    assert len(ids) == 1000
    assert min(ids) > TOTAL_BETWEEN


def test_bodies_without_increments_are_nothing() -> None:
    """However much else they hold."""
    plain = MetricBatch(metric=[1], series=[1], time_ms=[1], value=[1.0], histograms=[Histogram(series=1)])
    assert read_increments([codec.encode("t", 1, plain.SerializeToString())]) == []


def test_tenants_are_apart() -> None:
    """Series of two tenants never have the same id, so only the rows must not mix."""
    found = read_increments([body([(1, 1, 1.0)], tenant="a"), body([(2, 1, 1.0)], tenant="b"), body([(1, 2, 1.0)], tenant="a")])
    assert [(increments.tenant, len(increments.samples)) for increments in found] == [("a", 2), ("b", 1)]


@dataclass
class Tier:
    """A TotalsReader over written rows; of one series and time the last row stays, as in the hot tier."""

    samples: dict[tuple[int, int], tuple[float, int]] = field(default_factory=dict)
    histograms: dict[tuple[int, int], tuple[Histogram, int]] = field(default_factory=dict)
    asked: list[Sequence[tuple[int, int]]] = field(default_factory=list)

    async def last_samples(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, Total[float]]:
        """See TotalsReader; of one tenant, whatever series are requested."""
        assert (tenant, since_ms <= ARRIVED_MS) == ("t", True)
        self.asked.append(series)
        wanted = {number for _, number in series}
        rows = sorted((time_ms, number, value, batch) for (number, time_ms), (value, batch) in self.samples.items() if number in wanted)
        return {number: Total(time_ms, value, batch) for time_ms, number, value, batch in rows if batch != TOTAL_BETWEEN}

    async def last_histograms(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, Total[Histogram]]:
        """See TotalsReader; of one tenant, whatever series are requested."""
        assert (tenant, since_ms <= ARRIVED_MS) == ("t", True)
        self.asked.append(series)
        rows = sorted(self.histograms.items(), key=lambda row: row[0][1])
        return {number: Total(time_ms, found, batch) for (number, time_ms), (found, batch) in rows if batch != TOTAL_BETWEEN}

    def write(self, entries: Sequence[Entry], keep: Sequence[bool] = ()) -> None:
        """Store what was prepared; of an interrupted write only the rows that ``keep`` names."""
        for entry in entries:
            for record in codec.decode(entry.body):
                batch = TotalBatch.FromString(record.request)
                rows = list(zip(batch.series, batch.time_ms, batch.value, batch.batch, strict=True))
                for at, (series, time_ms, value, name) in enumerate(rows):
                    if not keep or keep[at % len(keep)]:
                        self.samples[series, time_ms] = (value, name)
                for histogram, name in zip(batch.histograms, batch.histogram_batch, strict=True):
                    self.histograms[histogram.series, histogram.time_ms] = (histogram, name)

    def totals(self) -> dict[int, float]:
        """The value of each series' last sample."""
        return {series: value for (series, _), (value, _) in sorted(self.samples.items(), key=lambda row: row[0][1])}


def entry(sequence: int, content: bytes) -> Entry:
    """One entry of the WAL."""
    return Entry(sequence, METRICS, 1, content)


async def test_a_successor_resumes_from_the_hot_tier() -> None:
    """Whether or not the batch during which its predecessor died was written, and without reading twice."""
    wal = [entry(1, body([(1, 10, 1.0), (2, 10, 5.0)])), entry(2, body([(1, 20, 2.0)])), entry(3, body([(1, 30, 4.0)]))]
    for died_after_writing in (True, False):
        tier = Tier()
        first = DeltaPreparation(tier, 100)
        tier.write(await first.prepare(wal[:1], "1-1"))
        prepared = await first.prepare(wal[1:2], "2-2")
        if died_after_writing:
            tier.write(prepared)
        tier.asked.clear()
        second = DeltaPreparation(tier, 100)
        tier.write(await second.prepare(wal[1:2], "2-2"))
        tier.write(await second.prepare(wal[2:], "3-3"))
        assert {key: value for key, (value, _) in tier.samples.items()} == {(1, 10): 1.0, (2, 10): 5.0, (1, 20): 3.0, (1, 30): 7.0}
        assert tier.asked == [[(1, 1)]]


@given(st.lists(st.tuples(st.integers(1, SERIES), st.integers(0, 1_500), st.integers(0, 9).map(float)), max_size=40), st.data())
async def test_each_increment_counts_once_after_any_crash(rows: list[Row], data: st.DataObject) -> None:
    """In any order of times, with any grouping into batches, a new writer at any batch, any part of a batch written before, and little
    memory.
    """
    tier, at, batch = Tier(), 0, 0
    writer = DeltaPreparation(tier, 100)
    while at < len(rows):
        size, batch = data.draw(st.integers(1, 10)), batch + 1
        entries = [entry(batch, body(rows[at : at + size]))]
        for _ in range(data.draw(st.integers(0, 2))):
            tier.write(await writer.prepare(entries, f"0.7:{batch}"), data.draw(st.lists(st.booleans(), min_size=1, max_size=8)))
            writer = DeltaPreparation(tier, data.draw(st.integers(1, 3)))
        tier.write(await writer.prepare(entries, f"0.7:{batch}"))
        at += size
    expected = {series: sum(amount for number, _, amount in rows if number == series) for series, _, _ in rows}
    assert tier.totals() == expected


async def test_totals_can_be_halved() -> None:
    """Down to single rows, each with its batch, histograms too."""
    [prepared] = await DeltaPreparation(Tier(), 100).prepare(
        [entry(1, body([(1, 10, 1.0), (1, 20, 2.0), (2, 5, 7.0)], [histogram(3, 0, {1: 1}), histogram(4, 0, {1: 1})]))], "1-1"
    )
    assert normalise(TOTALS, prepared.body) == prepared.body
    whole, pieces, tier = Tier(), [prepared.body], Tier()
    whole.write([prepared])
    while any(halves := [halve(TOTALS, piece) for piece in pieces]):
        pieces = [piece for found, uncut in zip(halves, pieces, strict=True) for piece in (found or (uncut,))]
    assert len(pieces) == 5
    tier.write([Entry(1, TOTALS, 1, piece) for piece in pieces])
    assert (tier.samples, tier.histograms) == (whole.samples, whole.histograms)


def histogram(time_ms: int, schema: int, buckets: dict[int, float], *, zero: float = 0, threshold: float = 0.0) -> Histogram:
    """An exponential histogram with positive and mirrored negative buckets."""
    counts = [buckets[index] for index in sorted(buckets)]
    return Histogram(
        series=9,
        time_ms=time_ms,
        schema=schema,
        count=2 * sum(counts) + zero,
        sum=1.5,
        zero_count=zero,
        zero_threshold=threshold,
        positive_index=sorted(buckets),
        positive_counts=counts,
        negative_index=sorted(buckets),
        negative_counts=counts,
    )


def test_histograms_add_up_at_the_coarser_schema() -> None:
    """Bucket i of schema 1 is half of bucket ceil(i / 2) of schema 0."""
    total = add_histogram(histogram(1, 1, {1: 1, 2: 2, 3: 4}, zero=1), histogram(2, 0, {1: 8, 5: 16}, zero=2))
    assert (total.schema, total.time_ms, total.zero_count, total.sum, total.count) == (0, 2, 3.0, 3.0, 2 * 31 + 3)
    assert dict(zip(total.positive_index, total.positive_counts, strict=True)) == {1: 11.0, 2: 4.0, 5: 16.0}
    assert total.positive_counts == total.negative_counts


def test_a_wider_zero_bucket_absorbs_the_buckets_under_it() -> None:
    """And grows to the end of a bucket that it would cut."""
    total = add_histogram(histogram(1, 0, {0: 1, 1: 2, 3: 4}), histogram(2, 0, {4: 8}, zero=5, threshold=1.5))
    assert total.zero_threshold == 2.0
    assert total.zero_count == 5 + 2 * (1 + 2)
    assert list(total.positive_index) == [3, 4]


@given(
    st.lists(
        st.tuples(
            st.integers(-4, 8),
            st.dictionaries(st.integers(-40, 40), st.integers(1, 9).map(float), max_size=6),
            st.sampled_from([0.0, 0.001, 0.7, 3.0]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_observation_is_lost_in_histograms(parts: list[tuple[int, dict[int, float], float]]) -> None:
    """For any schemas and zero buckets; no bucket is within the zero bucket."""
    histograms = [histogram(at, schema, buckets, zero=1, threshold=threshold) for at, (schema, buckets, threshold) in enumerate(parts)]
    total = histograms[0]
    for more in histograms[1:]:
        total = add_histogram(total, more)
    assert total.count == sum(one.count for one in histograms)
    assert total.zero_count + sum(total.positive_counts) + sum(total.negative_counts) == total.count
    if len(histograms) > 1 and total.zero_threshold:
        assert all(upper_bound(index - 1, total.schema) >= total.zero_threshold * (1 - 1e-12) for index in total.positive_index)


async def test_delta_histograms_run_up() -> None:
    """By the same rules; what is written has the time of the running total."""
    tier = Tier()
    writer = DeltaPreparation(tier, 10)
    for batch, time_ms in enumerate((1, 2, 2, 1, 3)):
        tier.write(await writer.prepare([entry(batch, body([], [histogram(time_ms, 0, {1: 1})]))], str(batch)))
    assert {key: found.count for key, (found, _) in tier.histograms.items()} == {(9, 1): 2.0, (9, 2): 8.0, (9, 3): 10.0}
