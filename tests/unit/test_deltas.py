"""Increments become running totals, whatever is repeated, late or forgotten."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.writer.deltas import Totals, read_increments
from services.ingest.writer.prepare import DeltaPreparation
from tael.metrics.accumulate import add_histogram, upper_bound
from tael.pb.metrics_pb2 import Deltas, Histogram, MetricBatch
from tael.wal import codec
from tael.wal.api import METRICS, Entry

Row = tuple[int, int, float]
"""Series, time and amount or total."""


def body(rows: Sequence[Row], histograms: Sequence[Histogram] = (), tenant: str = "t") -> bytes:
    """A body of the log with these increments."""
    deltas = Deltas(
        metric=[1] * len(rows),
        series=[series for series, _, _ in rows],
        time_ms=[time_ms for _, time_ms, _ in rows],
        value=[amount for _, _, amount in rows],
        histograms=histograms,
    )
    return codec.encode(tenant, 7, MetricBatch(deltas=deltas).SerializeToString())


def added(totals: Totals, *bodies: bytes) -> tuple[list[Row], int]:
    """The totals that a batch of the log becomes, and what was left out."""
    rows, dropped = [], 0
    for increments in read_increments(bodies):
        batch, late = totals.add(increments)
        rows += list(zip(batch.series, batch.time_ms, batch.value, strict=True))
        dropped += late
    return rows, dropped


def test_increments_add_up_in_the_order_of_their_times() -> None:
    """Across entries of a batch and across batches."""
    totals = Totals(100)
    assert added(totals, body([(1, 20, 2.0), (2, 10, 5.0)]), body([(1, 10, 1.0)])) == ([(2, 10, 5.0), (1, 10, 1.0), (1, 20, 3.0)], 0)
    assert added(totals, body([(1, 30, 4.0)])) == ([(1, 30, 7.0)], 0)


def test_what_is_repeated_late_or_not_finite_adds_nothing() -> None:
    """And is counted."""
    totals = Totals(100)
    added(totals, body([(1, 20, 2.0)]))
    assert added(totals, body([(1, 20, 2.0), (1, 10, 1.0), (1, 30, math.nan), (1, 31, math.inf)])) == ([], 4)
    assert added(totals, body([(1, 40, 1.0)])) == ([(1, 40, 3.0)], 0)


def test_bodies_without_increments_are_nothing() -> None:
    """However much else they hold."""
    plain = MetricBatch(metric=[1], series=[1], time_ms=[1], value=[1.0], histograms=[Histogram(series=1)])
    assert read_increments([codec.encode("t", 1, plain.SerializeToString())]) == []


def test_tenants_are_apart() -> None:
    """Series of two tenants never have one id, so only the rows must not mix."""
    found = read_increments([body([(1, 1, 1.0)], tenant="a"), body([(2, 1, 1.0)], tenant="b"), body([(1, 2, 1.0)], tenant="a")])
    assert [(increments.tenant, len(increments.samples)) for increments in found] == [("a", 2), ("b", 1)]


@dataclass
class Tier:
    """A TotalsReader over rows that were written, and how often it was asked."""

    rows: list[Row] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)
    asked: list[tuple[str, Sequence[tuple[int, int]], int]] = field(default_factory=list)

    async def last_samples(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, tuple[int, float]]:
        self.asked.append((tenant, series, since_ms))
        wanted = {number for _, number in series}
        return {number: (time_ms, value) for number, time_ms, value in sorted(self.rows, key=lambda row: row[1]) if number in wanted}

    async def last_histograms(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Sequence[Histogram]:
        self.asked.append((tenant, series, since_ms))
        return self.histograms[-1:]

    def write(self, entries: Sequence[Entry]) -> None:
        """Store what was prepared."""
        for entry in entries:
            for record in codec.decode(entry.body):
                batch = MetricBatch.FromString(record.request)
                self.rows += zip(batch.series, batch.time_ms, batch.value, strict=True)
                self.histograms += batch.histograms


def entry(sequence: int, content: bytes) -> Entry:
    """One entry of the log."""
    return Entry(sequence, METRICS, 1, content)


async def test_a_successor_goes_on_from_the_hot_tier() -> None:
    """Whether the batch that its predecessor died over was written or not, and without asking twice."""
    log = [entry(1, body([(1, 10, 1.0), (2, 10, 5.0)])), entry(2, body([(1, 20, 2.0)])), entry(3, body([(1, 30, 4.0)]))]
    for died_after_writing in (True, False):
        tier, dropped, ignored = Tier(), [0], [0]
        first = DeltaPreparation(tier, 100, ignored.append)
        tier.write(await first.prepare(log[:1]))
        prepared = await first.prepare(log[1:2])
        if died_after_writing:
            tier.write(prepared)
        tier.asked.clear()
        second = DeltaPreparation(tier, 100, lambda count, dropped=dropped: dropped.append(count))  # type: ignore[misc]
        tier.write(await second.prepare(log[1:2]))
        tier.write(await second.prepare(log[2:]))
        assert tier.rows == [(1, 10, 1.0), (2, 10, 5.0), (1, 20, 3.0), (1, 30, 7.0)]
        assert [series for _, series, _ in tier.asked] == [[(1, 1)]]
        assert sum(dropped) == int(died_after_writing)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50), st.integers(0, 9).map(float)), max_size=40), st.data())
def test_totals_are_the_same_however_the_log_is_cut_and_whoever_dies(rows: list[Row], data: st.DataObject) -> None:
    """In the order of times: any grouping into batches, any writer anew at any batch, any batch repeated, little memory."""
    rows = sorted(rows, key=lambda row: row[1])
    expected, last, late = dict[int, float](), dict[int, int](), 0
    for series, time_ms, amount in rows:
        if time_ms > last.get(series, -1):
            expected[series] = expected.get(series, 0.0) + amount
            last[series] = time_ms
        else:
            late += 1
    stored: dict[int, tuple[int, float]] = {}
    totals, at = Totals(100), 0
    while at < len(rows):
        size = data.draw(st.integers(1, 10))
        if data.draw(st.booleans()):
            totals = Totals(data.draw(st.integers(1, 3)))
        for _ in range(data.draw(st.integers(1, 2))):
            for increments in read_increments([body(rows[at : at + size])]):
                totals.learn([(series, stored[series]) for _, series in totals.unknown(increments).samples if series in stored], ())
                batch, _ = totals.add(increments)
                for series, time_ms, value in zip(batch.series, batch.time_ms, batch.value, strict=True):
                    stored[series] = max(stored.get(series, (-1, 0.0)), (time_ms, value))
        at += size
    assert {series: total for series, (_, total) in stored.items()} == expected


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


def test_a_wider_zero_bucket_takes_in_what_lies_under_it() -> None:
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
    """Whatever schemas and zero buckets meet, and no bucket lies within the zero bucket."""
    histograms = [histogram(at, schema, buckets, zero=1, threshold=threshold) for at, (schema, buckets, threshold) in enumerate(parts)]
    total = histograms[0]
    for more in histograms[1:]:
        total = add_histogram(total, more)
    assert total.count == sum(one.count for one in histograms)
    assert total.zero_count + sum(total.positive_counts) + sum(total.negative_counts) == total.count
    if len(histograms) > 1 and total.zero_threshold:
        assert all(upper_bound(index - 1, total.schema) >= total.zero_threshold * (1 - 1e-12) for index in total.positive_index)


def test_delta_histograms_run_up() -> None:
    """With the same rule for what is late."""
    totals, times = Totals(10), (1, 2, 2, 3)
    counts = []
    for time_ms in times:
        for increments in read_increments([body([], [histogram(time_ms, 0, {1: 1})])]):
            batch, _ = totals.add(increments)
            counts += [found.count for found in batch.histograms]
    assert counts == [2.0, 4.0, 6.0]
