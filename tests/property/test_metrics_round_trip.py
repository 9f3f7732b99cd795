"""Any OTLP request is read from the WAL's bodies as it was sent, in bulk or point by point, divided by shard and by size."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tael.metrics.bodies import bodies
from tael.metrics.identity import labels_id, series_id
from tael.model.series import Labels, labels_of
from tael.otlp.anyvalue import encode_attributes
from tael.pb.metrics_pb2 import MetricBatch
from tests.support.metrics import CUMULATIVE, DELTA, T0_MS, T0_NS, Door, Reader, bits, request, shop

Point = tuple[int, float | int, bool, str]
"""Seconds after T0, value, whether there is a start time, an attribute's value."""

VALUES = st.one_of(st.floats(), st.integers(-(2**63), 2**63 - 1))
POINTS = st.lists(st.tuples(st.integers(0, 7200), VALUES, st.booleans(), st.text(max_size=3)), max_size=8)
FINITE = POINTS.map(lambda points: [point for point in points if math.isfinite(point[1])])
METRICS = st.lists(
    st.one_of(st.tuples(st.sampled_from(["gauge", "sum"]), POINTS), st.tuples(st.just("delta"), FINITE)),
    max_size=5,
)


def message_of(metrics: Sequence[tuple[str, Sequence[Point]]]) -> tuple[list[Metric], dict[tuple[Labels, int], int]]:
    """The metrics, and the bits of the last value of each series at each time."""
    made, expected = [], dict[tuple[Labels, int], int]()
    for index, (kind, points) in enumerate(metrics):
        metric = Metric(name=f"m{index}")
        data = metric.gauge if kind == "gauge" else metric.sum
        data.SetInParent()
        if kind != "gauge":
            metric.sum.aggregation_temporality = DELTA if kind == "delta" else CUMULATIVE  # type: ignore[assignment]
        for second, value, has_start, text in points:
            point = data.data_points.add(time_unix_nano=T0_NS + second * 10**9, attributes=encode_attributes({"a": text}))
            if has_start:
                point.start_time_unix_nano = T0_NS - 1
            if isinstance(value, int):
                point.as_int = value
            else:
                point.as_double = value
            key = shop(name=f"m{index}", a=text) if text else shop(name=f"m{index}")
            expected[key, T0_MS + second * 1000] = bits(float(value))
        made.append(metric)
    return made, expected


def only_one_a_time(metrics: Sequence[tuple[str, Sequence[Point]]]) -> list[tuple[str, list[Point]]]:
    """The points without two of one series and time, whose order a request does not define."""
    return [
        (kind, list({(second, text): (second, value, start, text) for second, value, start, text in points}.values()))
        for kind, points in metrics
    ]


@given(METRICS, st.integers(1, 3), st.sampled_from([600, 8 << 20]))
@settings(max_examples=150)
def test_samples_come_back_bit_for_bit(metrics: list[tuple[str, list[Point]]], shards: int, max_bytes: int) -> None:
    """The second time most series are known; none is announced twice, and everything about a series is in bodies of its shard."""
    metrics = only_one_a_time(metrics)
    made, expected = message_of(metrics)
    door, reader = Door(), Reader()
    for announced in (True, False):
        translation = door.translate(request(*made))
        cut = bodies(translation, shards, max_bytes)
        assert not translation.refusals.positions
        assert translation.items == sum(len(points) for _, points in metrics)
        assert bool(translation.new_series) == (announced and bool(expected))
        assert all(len(body.samples) + len(body.series) <= max_bytes for body in cut)
        decoded = reader.read(body.samples + body.series for body in cut)
        found = {
            (labels, time_ms): bits(value)
            for series in (decoded.samples, decoded.deltas)
            for labels, rows in series.items()
            for time_ms, value in rows
        }
        assert found == expected
        assert sum(body.items for body in cut) == len(expected)
        for body in cut:
            parsed = MetricBatch.FromString(body.samples)
            assert {series % shards for series in (*parsed.series, *parsed.deltas.series)} <= {body.shard}


@given(METRICS, st.integers(1, 3))
def test_encoded_samples_are_the_same_whichever_series_are_known(metrics: list[tuple[str, list[Point]]], shards: int) -> None:
    """The digest by which the WAL recognises a resend does not depend on what the receiver remembers."""
    made, _ = message_of(only_one_a_time(metrics))
    fresh, warm = Door(), Door()
    warm.translate(request(*made))
    samples = [[body.samples for body in bodies(door.translate(request(*made)), shards, 8 << 20) if body.samples] for door in (fresh, warm)]
    assert samples[0] == samples[1]


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3), max_size=4), st.text(max_size=2), st.text(max_size=2)
)
def test_series_ids_tell_label_sets_and_tenants_apart(pairs: dict[str, str], first: str, second: str) -> None:
    """Names, values and tenants are delimited."""
    labels = tuple(sorted(pairs.items()))
    for identify in (series_id, labels_id):
        assert (identify(first, labels) == identify(second, labels)) == (first == second)
        if labels:
            (name, value), *rest = labels
            assert identify(first, labels) != identify(first, ((name + value, ""), *rest))
            assert identify(first, labels) != identify(first + name, ((value, ""), *rest))


NAMES = st.dictionaries(st.sampled_from(["__name__", "instance", "n"]), st.text(min_size=1, max_size=3))


@given(NAMES, NAMES, st.sampled_from(["service_name", "service", "app", "namespace"]), st.text(min_size=1), st.text(min_size=1))
def test_series_of_a_job_and_service_lie_together(
    first: dict[str, str], second: dict[str, str], label: str, job: str, service: str
) -> None:
    """Their ids have the same high bits, whatever other labels they have."""
    of = {"job": job, label: service}
    one, other = (series_id("t1", labels_of({**own, **of})) for own in (first, second))
    assert one >> 52 == other >> 52
    assert series_id("t1", labels_of({"job": job, **first})) >> 58 == one >> 58
