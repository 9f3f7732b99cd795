"""Which WAL an item goes to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from prometheus_client import CollectorRegistry

from services.ingest.admission import Cut, Verbatim
from services.ingest.pipeline import Pipeline
from tael.cluster.lease import wal_of, writer_key
from tael.cluster.shard import Router
from tael.model.lanes import ASIDE, aside_of, near, shard_of_wal, wal_name, wal_of_name
from tael.otlp.scan import EVERYTHING, scan_logs, scan_spans, span_route
from tael.pb.metrics_pb2 import MetricBatch
from tests.support.metrics import DELTA, number, request
from tests.support.otlp import MemoryLog, receiver_settings, request_of, spans_of

HOUR_NS = 3_600 * 10**9
NOW_NS = 1_790_000_000 * 10**9


@given(st.integers(0, ASIDE - 1))
def test_a_wal_and_its_name_are_one(shard: int) -> None:
    """In streams and in leases; each shard has two."""
    for wal in (shard, aside_of(shard)):
        assert wal_of_name(wal_name(wal)) == wal
        assert wal_of(writer_key(wal)) == wal
        assert shard_of_wal(wal) == shard
    assert wal_name(aside_of(3)) == "3_aside"
    assert wal_of_name("3_aside_4") is wal_of_name("x") is wal_of("lease.leader") is None


def test_the_near_lane_is_whole_hours_around_now() -> None:
    """So that a resend is divided the same way, except once an hour."""
    found = near(NOW_NS, 2)
    assert found.since_ns % HOUR_NS == found.until_ns % HOUR_NS == 0
    assert found.since_ns <= NOW_NS - 2 * HOUR_NS < found.since_ns + HOUR_NS
    assert found.until_ns - HOUR_NS < NOW_NS + 2 * HOUR_NS + HOUR_NS <= found.until_ns + HOUR_NS
    assert near(found.since_ns, 1_000_000).since_ns == 0


def admitted(*offsets_hours: int, shards: int = 1) -> dict[int, list[int]]:
    """The hours of the spans that go to each WAL."""
    request = request_of(len(offsets_hours))
    for span, hours in zip(request.resource_spans[0].scope_spans[0].spans, offsets_hours, strict=True):
        span.start_time_unix_nano = NOW_NS + hours * HOUR_NS
    admission = Verbatim(scan_spans, span_route, lambda *_: EVERYTHING, 24)
    parts = admission.admit("t", request.SerializeToString(), Cut(Router(shards), 1 << 20, NOW_NS)).parts
    assert sum(part.items for part in parts) == len(offsets_hours)
    return {part.shard: [(span.start_time_unix_nano - NOW_NS) // HOUR_NS for span in spans_of(part.request)] for part in parts}


def test_far_items_go_to_the_aside_lane_and_near_ones_do_not() -> None:
    """In the past and in the future; a request of only one kind is passed on byte for byte."""
    assert admitted(0, -24, 23) == {0: [0, -24, 23]}
    assert admitted(-100, -26, 200) == {ASIDE: [-100, -26, 200]}
    assert admitted(0, -100, -1, 100) == {0: [0, -1], ASIDE: [-100, 100]}


def test_every_shard_has_its_own() -> None:
    """A far span goes to the second WAL of its trace's shard."""
    found = admitted(*([0, -100] * 20), shards=3)
    assert {shard_of_wal(wal) for wal in found} == {0, 1, 2}
    assert all(hours == [0 if wal < ASIDE else -100] * len(hours) for wal, hours in found.items())


def test_a_log_record_without_a_time_is_of_now() -> None:
    """It gets the time of its arrival."""
    assert scan_logs(b"", EVERYTHING, near(NOW_NS, 1)).far == frozenset()


def admitted_metrics(*offsets_hours: int, histogram_hours: int = 0, counted_hours: int = 0, shards: int = 1) -> dict[int, MetricBatch]:
    """What goes to each WAL of the points of a gauge, a delta and a histogram."""
    rates = Metric(name="rates")
    rates.exponential_histogram.aggregation_temporality = 2  # type: ignore[assignment]
    rates.exponential_histogram.data_points.add(time_unix_nano=NOW_NS + histogram_hours * HOUR_NS, count=1).positive.bucket_counts.append(1)
    gauge = Metric(name="temperature")
    for hours in offsets_hours:
        gauge.gauge.data_points.add(time_unix_nano=NOW_NS + hours * HOUR_NS, as_double=float(hours))
    counted = number("counted", 1.0, kind="sum", temporality=DELTA)
    counted.sum.data_points[0].time_unix_nano = NOW_NS + counted_hours * HOUR_NS
    metrics = Pipeline(MemoryLog(), Router(shards), receiver_settings(TAEL_NEAR_HOURS=24), registry=CollectorRegistry()).metrics
    parts = metrics.otlp.admit("t", request(gauge, rates, counted).SerializeToString(), Cut(Router(shards), 1 << 20, NOW_NS)).parts
    found: dict[int, MetricBatch] = {}
    for part in parts:
        found.setdefault(part.shard, MetricBatch()).MergeFrom(MetricBatch.FromString(part.request))
    return found


def hours_of(batch: MetricBatch) -> list[int]:
    """The hours of a batch's gauge, read from its values."""
    return [int(value) for value in batch.value if value != 1.0]


def test_samples_that_lie_far_go_aside_with_their_series() -> None:
    """Ordered by time there; increments and metadata stay, because the increments of a series must be in one WAL."""
    found = admitted_metrics(0, 200, -100, -23, -300, histogram_hours=-400, counted_hours=-500)
    assert set(hours_of(found[0])) == {0, -23}
    assert hours_of(found[ASIDE]) == [-300, -100, 200]
    assert (len(found[0].histograms), len(found[ASIDE].histograms)) == (0, 1)
    assert found[0].deltas.value == [1.0]
    assert not found[ASIDE].HasField("deltas")
    assert {family.name for family in found[0].families} >= {"temperature", "rates", "counted_total"}
    assert not found[ASIDE].families
    for batch in found.values():
        announced = {(one.series, one.hour) for one in batch.new_series}
        assert {(series, time_ms // 3_600_000 * 3_600) for series, time_ms in zip(batch.series, batch.time_ms, strict=True)} <= announced


def test_samples_near_now_go_one_way() -> None:
    """Requests without far samples are not divided; otherwise each shard's far samples go to its own second WAL."""
    assert set(admitted_metrics(0, -24, 23)) == {0}
    assert {shard_of_wal(wal) for wal in admitted_metrics(*range(-200, 100), shards=2)} == {0, 1}
