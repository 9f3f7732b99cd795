"""Vectorised native histograms against plain loops over one at a time."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tael.vectors.histograms import functions as histogram_functions
from tael.vectors.histograms.resets import detect
from tael.vectors.histograms.sums import sum_by, weighted
from tests.property.test_promql_histograms import KIND, custom, disjoint, exponential, read
from tests.support.histogram_reference import Plain, same

PAIRS = st.tuples(KIND, KIND).flatmap(lambda kinds: st.tuples(*kinds))


def close(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)


@given(PAIRS, st.sampled_from([1.0, -1.0, 0.5]))
def test_weighted_sums_of_two(pair: tuple[str, str], factor: float) -> None:
    """Sums, differences and fractions, of different schemas, zero buckets and bounds."""
    both = read(list(pair))
    assume(all(disjoint(both.take(np.array([row]))) for row in range(2)))
    wanted = Plain.at(both, 0).plus(Plain.at(both, 1), factor)
    found = weighted(both, np.arange(2), np.array([1.0, factor]), np.zeros(2, np.int64), 1)
    assert (wanted is None) == bool(found.mixed[0])
    assert wanted is None or same(Plain.at(found.histograms, 0), wanted, close)


@given(KIND.flatmap(lambda kind: st.lists(kind, min_size=3, max_size=5)))
def test_sums_of_several_are_sums_of_sums(texts: list[str]) -> None:
    """Adding all at once equals adding one after the other, whatever the zero buckets."""
    several = read(texts)
    assume(all(disjoint(several.take(np.array([row]))) for row in range(len(several))))
    assume(len(set(several.schema.tolist())) == 1)
    total: Plain | None = Plain.at(several, 0)
    for row in range(1, len(several)):
        assert total is not None
        total = total.plus(Plain.at(several, row))
    found = sum_by(several, np.arange(len(several)), np.zeros(len(several), np.int64), 1)
    assert total is not None
    assert same(Plain.at(found.histograms, 0), total, close)


@given(PAIRS)
@example(("{{schema:0 count:1 buckets:[1]}}", "{{schema:0 count:2 z_bucket:1 z_bucket_w:0.6 buckets:[1]}}"))
def test_resets(pair: tuple[str, str]) -> None:
    """Whatever decreased or disappeared."""
    both = read(list(pair))
    assume(all(disjoint(both.take(np.array([row]))) for row in range(2)))
    found = detect(both, np.array([1, 0]), np.array([0, 1]))
    first, second = Plain.at(both, 0), Plain.at(both, 1)
    assert found.tolist() == [second.reset_after(first), first.reset_after(second)]


@given(exponential() | custom(st.sampled_from([(0.0,), (5.0, 10.0), (-10.0, 5.0, 10.0)])), st.floats(0, 1))
def test_quantiles(text: str, q: float) -> None:
    """At any rank."""
    one = read([text])
    assume(disjoint(one) and one.count[0] > 0)
    found, _ = histogram_functions.quantile(np.array([q]), one)
    assert math.isclose(found[0], Plain.at(one, 0).quantile(q), rel_tol=1e-6, abs_tol=1e-9)


@given(exponential() | custom(), st.floats(-20, 20))
def test_fractions(text: str, value: float) -> None:
    """Below any bound."""
    one = read([text])
    assume(disjoint(one) and one.count[0] > 0)
    found, _ = histogram_functions.fraction(np.array([-math.inf]), np.array([value]), one)
    assert math.isclose(found[0] * one.count[0], min(Plain.at(one, 0).rank(value), one.count[0]), rel_tol=1e-6, abs_tol=1e-9)
