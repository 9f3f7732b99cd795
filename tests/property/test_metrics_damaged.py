"""An inconsistent point affects only itself, whatever is next to it and however often it comes."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tests.support.metrics import CUMULATIVE, DELTA, T0_NS, Door, bits, encoded_bodies, request, shop

ODD = st.sampled_from([0.0, -0.0, 1.0, 2.5, 1e300, math.inf, -math.inf, math.nan])
COUNTS = st.integers(0, 2**64 - 1)
TIMES = st.sampled_from([0, 1, T0_NS, T0_NS, T0_NS, T0_NS + 7 * 10**9, 2**64 - 1])
FLAGS = st.sampled_from([0, 0, 0, 1])
KINDS = st.sampled_from([CUMULATIVE, CUMULATIVE, DELTA, 0])


@st.composite
def metrics(draw: st.DrawFn) -> list[Metric]:
    """Metrics of every kind, each with its own name; lengths, order and values of their parts are random."""
    made = []
    for index in range(draw(st.integers(1, 6))):
        metric = Metric(name=f"m{index}")
        kind = draw(st.sampled_from(["gauge", "sum", "histogram", "exponential_histogram", "summary"]))
        point = getattr(metric, kind).data_points.add(time_unix_nano=draw(TIMES), flags=draw(FLAGS))
        if kind not in ("gauge", "summary"):
            getattr(metric, kind).aggregation_temporality = draw(KINDS)
        if kind in ("gauge", "sum"):
            if draw(st.booleans()):
                point.as_double = draw(ODD)
        else:
            point.count, point.sum = draw(COUNTS), draw(ODD)
        if kind == "histogram":
            point.explicit_bounds.extend(draw(st.lists(ODD, max_size=4)))
            point.bucket_counts.extend(draw(st.lists(COUNTS, max_size=5)))
        elif kind == "exponential_histogram":
            point.scale, point.zero_threshold = draw(st.integers(-(2**31), 2**31 - 1)), draw(ODD)
            point.positive.offset = draw(st.integers(-(2**31), 2**31 - 1))
            point.positive.bucket_counts.extend(draw(st.lists(COUNTS, max_size=3)))
        elif kind == "summary":
            for quantile in draw(st.lists(ODD, max_size=3)):
                point.quantile_values.add(quantile=quantile, value=draw(ODD))
        made.append(metric)
    return made


def read_back(door: Door, *some: Metric) -> tuple[set[tuple[object, ...]], dict[str, int]]:
    """All samples of a request, by labels, and what was refused of it."""
    translation = door.translate(request(*some))
    read = door.reader.read(encoded_bodies(translation))
    said: set[tuple[object, ...]] = set()
    for what, series in (("sample", read.samples), ("increment", read.deltas)):
        said |= {(what, labels, time_ms, bits(value)) for labels, rows in series.items() for time_ms, value in rows}
    for what, found in (("histogram", read.histograms), ("increment", read.delta_histograms)):
        said |= {(what, labels, one.SerializeToString()) for labels, several in found.items() for one in several}
    return said, dict(translation.refusals.counts)


@given(metrics())
@settings(max_examples=300)
def test_a_request_translates_like_its_points_one_by_one(some: list[Metric]) -> None:
    """Whether its series are new to the receiver or known."""
    alone = [read_back(Door(), metric) for metric in some]
    expected = set().union(*(said for said, _ in alone))
    reasons = sum(sum(refused.values()) for _, refused in alone)
    door = Door()
    for _ in range(2):
        said, refused = read_back(door, *some)
        assert said == expected
        assert sum(refused.values()) == reasons


@given(st.lists(ODD, max_size=5), st.lists(COUNTS, max_size=6))
def test_a_histogram_is_whole_or_refused(bounds: list[float], counts: list[int]) -> None:
    """A stored one has a bucket for each finite bound, and +Inf with the count."""
    metric = Metric(name="m")
    metric.histogram.aggregation_temporality = CUMULATIVE  # type: ignore[assignment]  # any number, as on the wire
    metric.histogram.data_points.add(time_unix_nano=T0_NS, count=7, explicit_bounds=bounds, bucket_counts=counts)
    door = Door()
    translation = door.translate(request(metric))
    samples = door.reader.read(encoded_bodies(translation)).samples
    finite = bounds[:-1] if bounds and bounds[-1] == math.inf else bounds
    fits = len(counts) in {len(finite) + 1, len(bounds) + 1} or (not counts and not finite)
    ascends = all(low < high for low, high in pairwise(finite)) and not any(math.isnan(bound) or bound == math.inf for bound in finite)
    if not (fits and ascends):
        assert translation.refusals.positions == {0}
        assert not samples
    else:
        assert len(samples) == len(finite) + 2
        assert [value for _, value in samples[shop(name="m_bucket", le="+Inf")]] == [7.0]
