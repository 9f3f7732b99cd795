"""OTLP metrics as Prometheus series: the result of every kind of point, and reasons for refusing it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric

from tael.errors import Rejected
from tael.metrics.cache import SeriesCache
from tael.metrics.names import Names
from tael.metrics.otlp import OtlpTranslator, spread
from tael.model.lanes import INCREMENT_HOURS
from tael.model.series import STALE_BITS
from tael.otlp.anyvalue import encode_attributes
from tests.support.metrics import DELTA, SHOP, T0_MS, T0_NS, Door, admit_all, bits, labels, number, refusals, request, shop


def test_gauges_and_sums() -> None:
    """Integers and doubles; a counter is a monotonic sum, and only it has ``_total``."""
    decoded = Door().read_back(
        number("queue", 5, attributes={"q": "a"}),
        number("hits", 1.5, 2.5, kind="sum", unit="By"),
        number("balance", -3, kind="sum", monotonic=False),
    )
    assert decoded.samples == {
        shop(name="queue", q="a"): [(T0_MS, 5.0)],
        shop(name="hits_bytes_total"): [(T0_MS, 1.5), (T0_MS + 1000, 2.5)],
        shop(name="balance"): [(T0_MS, -3.0)],
    }
    assert {(family.name, family.type, family.unit) for family in decoded.families} == {
        ("queue", "gauge", ""),
        ("hits_bytes_total", "counter", "bytes"),
        ("balance", "gauge", ""),
    }


def test_integers_are_exact_as_far_as_doubles_are() -> None:
    """Also the second time, when they are decoded in bulk."""
    door, values = Door(), (2**53, -(2**53), 2**63 - 1, -(2**63), 0)
    for _ in range(2):
        decoded = door.read_back(number("big", *values))
        assert [value for _, value in decoded.samples[shop(name="big")]] == [float(value) for value in values]


def test_a_resource_is_identified_by_job_and_instance() -> None:
    """Job and instance identify it and override attributes with these names; everything else is in target_info."""
    resource = {"service.name": "cart", "service.namespace": "shop", "service.instance.id": "7", "host.name": "h", "cloud.zone": ""}
    decoded = Door().read_back(number("up", 1, attributes={"job": "liar", "x": True}), resource=resource)
    assert decoded.samples == {
        labels(name="up", job="shop/cart", instance="7", x="true"): [(T0_MS, 1.0)],
        labels(name="target_info", job="shop/cart", instance="7", host_name="h"): [(T0_MS, 1.0)],
    }


def test_target_info_covers_the_samples_of_a_request() -> None:
    """Decoded in bulk or one by one, a join finds it at each sample, but not in gaps; it is not stored more often than necessary."""
    door, minute = Door(), 60_000
    for _ in range(2):
        decoded = door.read_back(number("up", *range(31), step_ns=minute * 1_000_000), resource={**SHOP, "host.name": "h"})
        times = [time_ms - T0_MS for time_ms, _ in decoded.samples[shop(name="target_info", host_name="h")]]
        assert times == [*range(0, 31 * minute, 2 * minute)]
    week = 7 * 86_400_000
    decoded = door.read_back(number("up", 1, 2, 3, step_ns=week * 1_000_000), resource={**SHOP, "host.name": "h"})
    assert [time_ms - T0_MS for time_ms, _ in decoded.samples[shop(name="target_info", host_name="h")]] == [0, week, 2 * week]


@given(st.lists(st.integers(0, 2_000_000), min_size=1, max_size=60))
def test_target_info_is_found_wherever_a_sample_is(times_ms: list[int]) -> None:
    """For as long as the sample itself."""
    chosen = spread(set(times_ms))
    assert set(chosen) <= set(times_ms)
    for at in times_ms:
        for ahead_ms in (0, 100_000, 299_999):
            assert any(at + ahead_ms - 300_000 < time_ms <= at + ahead_ms for time_ms in chosen)


def test_a_resource_without_identity_has_no_target_info() -> None:
    """It could not be joined with anything."""
    assert set(Door().read_back(number("up", 1), resource={"host.name": "h"}).samples) == {labels(name="up")}


def test_resource_attributes_may_be_promoted() -> None:
    """Then every series of the resource has them as labels."""
    decoded = Door(promoted=("host.name", "absent")).read_back(number("up", 1), resource={**SHOP, "host.name": "h"})
    assert shop(name="up", host_name="h") in decoded.samples


def test_scopes_are_labels() -> None:
    """Name, version, schema and attributes."""
    message = request(number("up", 1), scope="lib")
    scoped = message.resource_metrics[0].scope_metrics[0]
    scoped.scope.version, scoped.schema_url = "2", "https://x/1"
    scoped.scope.attributes.extend(encode_attributes({"a.b": "c"}))
    door = Door()
    door.translate(message)
    translation = door.translate(message)
    assert not translation.new_series
    [series] = Door().translate(message).new_series
    assert dict(zip(series.label_names, series.label_values, strict=True)) == {
        "__name__": "up",
        "job": "shop",
        "instance": "i-1",
        "otel_scope_name": "lib",
        "otel_scope_version": "2",
        "otel_scope_schema_url": "https://x/1",
        "otel_scope_a_b": "c",
    }


def test_utf8_names() -> None:
    """Kept unchanged if that is configured."""
    decoded = Door(names=Names("utf8")).read_back(number("http.größe", 1, attributes={"a.b": "c"}))
    assert set(decoded.samples) == {tuple(sorted({"__name__": "http.größe", "a.b": "c", "job": "shop", "instance": "i-1"}.items()))}


def histogram(*, bounds: list[float], counts: list[int], total: float | None = 6.5, temporality: int = 2, flags: int = 0) -> Metric:
    """A histogram with one point."""
    metric = Metric(name="latency", unit="s")
    metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]  # any number, as on the wire
    point = metric.histogram.data_points.add(
        time_unix_nano=T0_NS, count=sum(counts), bucket_counts=counts, explicit_bounds=bounds, flags=flags
    )
    if total is not None:
        point.sum = total
    return metric


def test_histograms_are_classic_buckets() -> None:
    """Counts are cumulative over ``le``; +Inf has them all."""
    decoded = Door().read_back(histogram(bounds=[0.5, 10], counts=[1, 2, 3]))
    assert decoded.samples == {
        shop(name="latency_seconds_bucket", le="0.5"): [(T0_MS, 1.0)],
        shop(name="latency_seconds_bucket", le="10"): [(T0_MS, 3.0)],
        shop(name="latency_seconds_bucket", le="+Inf"): [(T0_MS, 6.0)],
        shop(name="latency_seconds_count"): [(T0_MS, 6.0)],
        shop(name="latency_seconds_sum"): [(T0_MS, 6.5)],
    }


@pytest.mark.parametrize("counts", [[1, 2, 3, 0], [1, 2, 2, 1], [1, 2, 3]])
def test_a_last_bound_of_infinity_is_the_bucket_that_all_have(counts: list[int]) -> None:
    """However its counts are divided, and without an effect on the rest of the request."""
    decoded = Door().read_back(number("first", 1.0), histogram(bounds=[0.5, 10, math.inf], counts=counts), number("last", 2.0))
    assert decoded.samples == {
        shop(name="first"): [(T0_MS, 1.0)],
        shop(name="latency_seconds_bucket", le="0.5"): [(T0_MS, 1.0)],
        shop(name="latency_seconds_bucket", le="10"): [(T0_MS, 3.0)],
        shop(name="latency_seconds_bucket", le="+Inf"): [(T0_MS, 6.0)],
        shop(name="latency_seconds_count"): [(T0_MS, 6.0)],
        shop(name="latency_seconds_sum"): [(T0_MS, 6.5)],
        shop(name="last"): [(T0_MS, 2.0)],
    }


def test_histograms_may_have_no_buckets_and_no_sum() -> None:
    """The count and +Inf remain."""
    decoded = Door().read_back(histogram(bounds=[], counts=[], total=None))
    assert set(decoded.samples) == {shop(name="latency_seconds_bucket", le="+Inf"), shop(name="latency_seconds_count")}


def test_delta_histograms_are_increments() -> None:
    """Of the same series."""
    decoded = Door().read_back(histogram(bounds=[1], counts=[1, 2], temporality=DELTA))
    assert not decoded.samples
    assert decoded.deltas[shop(name="latency_seconds_bucket", le="+Inf")] == [(T0_MS, 3.0)]
    assert decoded.deltas[shop(name="latency_seconds_sum")] == [(T0_MS, 6.5)]


def exponential(scale: int, *, offset: int, counts: list[int], zero: int = 2, temporality: int = 2, flags: int = 0) -> Metric:
    """An exponential histogram with one point."""
    metric = Metric(name="size", unit="By")
    metric.exponential_histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    point = metric.exponential_histogram.data_points.add(
        time_unix_nano=T0_NS, count=sum(counts) + zero + 4, sum=9.5, scale=scale, zero_count=zero, zero_threshold=0.001, flags=flags
    )
    point.positive.offset = offset
    point.positive.bucket_counts.extend(counts)
    point.negative.offset = -1
    point.negative.bucket_counts.append(4)
    return metric


def test_exponential_histograms_are_native_ones() -> None:
    """A bucket's index is one more than OTLP's, and empty buckets are left out."""
    [found] = Door().read_back(exponential(3, offset=-2, counts=[1, 0, 0, 5])).histograms[shop(name="size_bytes")]
    assert (found.schema, found.count, found.sum, found.zero_count, found.zero_threshold) == (3, 12.0, 9.5, 2.0, 0.001)
    assert dict(zip(found.positive_index, found.positive_counts, strict=True)) == {-1: 1.0, 2: 5.0}
    assert dict(zip(found.negative_index, found.negative_counts, strict=True)) == {0: 4.0}


def test_scales_that_are_too_fine_are_brought_down() -> None:
    """Reducing the scale twice makes one bucket of four: OTLP's 0 to 3 are (1, b^4]."""
    [found] = Door().read_back(exponential(10, offset=-1, counts=[1, 2, 3, 4, 5, 6])).histograms[shop(name="size_bytes")]
    assert found.schema == 8
    assert dict(zip(found.positive_index, found.positive_counts, strict=True)) == {0: 1.0, 1: 14.0, 2: 6.0}


def test_scales_that_are_too_coarse_are_refused() -> None:
    """Native histograms end at -4."""
    translation = Door().translate(request(exponential(-5, offset=0, counts=[1]), number("up", 1)))
    assert refusals(translation) == {"scale -5 is coarser than the -4 that native histograms have": 1}
    assert (translation.items, len(translation.samples)) == (2, 1)


def test_delta_exponential_histograms_are_increments() -> None:
    """They are added up by the writer."""
    decoded = Door().read_back(exponential(0, offset=0, counts=[1], temporality=DELTA))
    assert not decoded.histograms
    assert len(decoded.delta_histograms[shop(name="size_bytes")]) == 1


def test_summaries_are_quantiles() -> None:
    """With sum and count."""
    metric = Metric(name="rtt", unit="ms")
    point = metric.summary.data_points.add(time_unix_nano=T0_NS, count=4, sum=10.0)
    for quantile, value in ((0.5, 2.0), (0.99, 3.5)):
        point.quantile_values.add(quantile=quantile, value=value)
    assert Door().read_back(metric).samples == {
        shop(name="rtt_milliseconds", quantile="0.5"): [(T0_MS, 2.0)],
        shop(name="rtt_milliseconds", quantile="0.99"): [(T0_MS, 3.5)],
        shop(name="rtt_milliseconds_sum"): [(T0_MS, 10.0)],
        shop(name="rtt_milliseconds_count"): [(T0_MS, 4.0)],
    }


def test_no_recorded_value_ends_series_bit_for_bit() -> None:
    """For every kind of point; for a delta series too it is stored as a sample."""
    decoded = Door().read_back(
        number("g", 0, flags=1),
        number("d", 0, kind="sum", temporality=DELTA, flags=1),
        histogram(bounds=[1], counts=[0, 0], flags=1),
        exponential(-9, offset=0, counts=[], flags=1),
    )
    ended = [bits(value) for samples in decoded.samples.values() for _, value in samples]
    assert ended == [STALE_BITS] * 6
    [found] = decoded.histograms[shop(name="size_bytes")]
    assert bits(found.sum) == STALE_BITS


def test_exemplars_keep_their_trace() -> None:
    """At the bucket of their value; filtered attributes are labels if everything is short."""
    metric = histogram(bounds=[1, 5], counts=[0, 1, 0])
    point = metric.histogram.data_points[0]
    point.exemplars.append(
        Exemplar(
            as_double=3.0,
            time_unix_nano=T0_NS - 5_000_000,
            trace_id=bytes(range(16)),
            span_id=b"\x01" * 8,
            filtered_attributes=encode_attributes({"user.id": "7"}),
        )
    )
    point.exemplars.append(Exemplar(as_int=9, filtered_attributes=encode_attributes({"long": "x" * 200})))
    decoded = Door().read_back(metric)
    [found] = decoded.exemplars[shop(name="latency_seconds_bucket", le="5")]
    assert (found.time_ms, found.value, found.trace_id) == (T0_MS - 5, 3.0, bytes(range(16)))
    assert dict(zip(found.label_names, found.label_values, strict=True)) == {
        "trace_id": bytes(range(16)).hex(),
        "span_id": "01" * 8,
        "user_id": "7",
    }
    [other] = decoded.exemplars[shop(name="latency_seconds_bucket", le="+Inf")]
    assert (other.time_ms, other.value, list(other.label_names)) == (T0_MS, 9.0, [])


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (number("", 1, unit="s"), "the metric has no name"),
        (number("...", 1), "nothing of the metric's name '...' can be kept"),
        (number("x", 1, kind="sum", temporality=0), "aggregation temporality 0 is neither delta (1) nor cumulative (2)"),
        (number("x", 1, kind="sum", temporality=7), "aggregation temporality 7 is neither delta (1) nor cumulative (2)"),
        (number("x", 1, at_ns=0), "missing timestamp"),
        (number("x", 1, at_ns=2**64 - 1), "its time is before 1970 or after 2105"),
        (number("x", 1, attributes={"?": "1"}), "attribute '?' has no character that a label's name may have"),
        (number("x", 1, attributes={"a": "v" * 40_000}), "its labels have more than 32768 characters"),
        (exponential(0, offset=0, counts=[1] * 10_001), "it has 10001 buckets of one sign, more than 10000"),
        (histogram(bounds=[1], counts=[1]), "1 bucket counts do not fit 1 bounds"),
        (histogram(bounds=[2, 1], counts=[1, 1, 1]), "its bounds are not ascending"),
        (histogram(bounds=[1, math.inf], counts=[1]), "1 bucket counts do not fit 2 bounds"),
        (histogram(bounds=[math.inf, math.inf], counts=[1, 1, 1]), "its bounds are not ascending"),
        (number("x", math.inf, kind="sum", temporality=DELTA), "an increment that is not finite cannot be added to a total"),
        (histogram(bounds=[math.nan], counts=[1, 1]), "its bounds are not ascending"),
    ],
)
def test_unstorable_points_are_refused_and_others_kept(metric: Metric, reason: str) -> None:
    """Counted in points, with a reason, in any order."""
    translation = Door().translate(request(number("up", 1), metric, number("down", 2.0)))
    assert refusals(translation) == {reason: 1}
    assert (translation.items, translation.refusals.positions) == (3, {1})
    assert len(translation.samples) == 2


def test_a_point_without_a_value_is_refused() -> None:
    """It has no information."""
    metric = number("x", 1.0)
    metric.gauge.data_points[0].ClearField("as_double")
    assert refusals(Door().translate(request(metric))) == {"missing value": 1}


def test_series_over_a_limit_are_refused_by_name() -> None:
    """Only new series; the limiter gets the whole label set."""
    asked = []

    def admit_series(tenant: str, metric: str, found: tuple[tuple[str, str], ...]) -> str:
        asked.append((tenant, metric, dict(found)["q"]))
        return "too many" if dict(found)["q"] == "b" else ""

    door = Door(admit_series=admit_series)
    for _ in range(2):
        translation = door.translate(request(number("x", 1, attributes={"q": "a"}), number("x", 1, attributes={"q": "b"})))
        assert refusals(translation) == {"too many": 1}
        assert len(translation.samples) == 1
    assert asked == [("t", "x", "a"), ("t", "x", "b"), ("t", "x", "b")]


def test_a_series_is_announced_once_an_hour() -> None:
    """Of the samples' own time; a resend before the append is acknowledged announces it again."""
    door = Door()
    first = door._translator.translate("t", request(number("x", 1)).SerializeToString(), T0_MS, admit_all)
    assert [len(first.new_series), len(first.families)] == [1, 1]
    counts = []
    for at_ns in (T0_NS, T0_NS, T0_NS + 60_000_000_000, T0_NS + 3_600_000_000_000, T0_NS + 3_600_000_000_000):
        translation = door.translate(request(number("x", 1.5, at_ns=at_ns)))
        counts.append(len(translation.new_series))
    assert counts == [1, 0, 0, 1, 0]


def test_a_request_across_the_hour_is_as_good_as_any() -> None:
    """Bulk decoding handles one hour; other requests are decoded point by point, with the same result."""
    hour_ns = T0_NS // 3_600_000_000_000 * 3_600_000_000_000
    door, metric = Door(), number("x", 1.0, 2.0, 3.0, at_ns=hour_ns - 1_000_000_000)
    first, second = door.read_back(metric), door.read_back(metric)
    assert first.samples == second.samples
    assert len(first.samples[shop(name="x")]) == 3


def test_an_increment_ahead_of_its_arrival_is_announced_for_the_hour_in_which_it_counts() -> None:
    """Whether or not its series is known; it is stored with its original time, as in a resend."""
    hour_ns = 3_600_000_000_000
    door = Door()
    for _ in range(2):
        translation = door.translate(request(number("x", 1, 2, kind="sum", temporality=DELTA, at_ns=T0_NS + 2 * hour_ns, step_ns=hour_ns)))
        assert list(translation.deltas.time_ms) == [T0_MS + 7_200_000, T0_MS + 10_800_000]
        assert {series.hour for series in translation.new_series} <= {T0_MS // 3_600_000 * 3600}
    [ended] = door.translate(request(number("x", 0, kind="sum", temporality=DELTA, at_ns=T0_NS + 2 * hour_ns, flags=1))).new_series
    assert ended.hour == T0_MS // 3_600_000 * 3600 + 7200


def test_increments_of_thousands_of_hours_are_announced_for_few() -> None:
    """Those from days before their arrival count at the beginning of a window; they are stored with their original times, whether or not
    their series are known.
    """
    hour_ns, hour_ms = 3_600_000_000_000, 3_600_000
    now_hour_ms = T0_MS - T0_MS % hour_ms
    hours = {(now_hour_ms - back * hour_ms) // 1000 for back in range(INCREMENT_HOURS + 1)}
    door = Door()
    values = [1.0] * 5_000
    made = [
        number("x", *values, kind="sum", temporality=DELTA, at_ns=T0_NS - 4_999 * hour_ns, step_ns=hour_ns),
        number("y", 1.0, kind="sum", temporality=DELTA, at_ns=T0_NS - 4_999 * hour_ns),
    ]
    for metric in (*made, *made):
        translation = door.translate(request(metric))
        assert translation.deltas.time_ms[0] == T0_MS - 4_999 * hour_ms
        assert {series.hour for series in translation.new_series} <= hours


def test_a_malformed_request_is_rejected() -> None:
    """As a whole, before any of it is used."""
    for body in (b"\xff", b"\x0a\x05\x0a\x03\xff\xff\xff", request(number("x", 1)).SerializeToString()[:-1]):
        with pytest.raises(Rejected, match="ExportMetricsServiceRequest"):
            OtlpTranslator(SeriesCache(10), Names()).translate("t", body, T0_MS, admit_all)


def test_an_empty_request_is_accepted() -> None:
    """Nor are empty envelopes, or a metric without data."""
    assert Door().translate(request(Metric(name="x"))).items == 0


def test_tenants_share_no_series() -> None:
    """The same labels have different ids."""
    door = Door()
    ids = [door.translate(request(number("x", 1)), tenant).samples.series[0] for tenant in ("a", "b", "a")]
    assert ids[0] == ids[2] != ids[1]


def test_memory_is_bounded() -> None:
    """The least recently used series are forgotten first, and announced again."""
    door = Door(cache=SeriesCache(40))
    for number_of in range(100):
        door.translate(request(number("x", 1, attributes={"n": number_of}), resource={"service.name": f"s{number_of}"}))
        assert door.cache.entries <= 40
    again = door.translate(request(number("x", 1, attributes={"n": 99}), resource={"service.name": "s99"}))
    assert not again.new_series
    assert door.translate(request(number("x", 1, attributes={"n": 0}), resource={"service.name": "s0"})).new_series
