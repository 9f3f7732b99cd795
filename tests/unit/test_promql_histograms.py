"""Native histograms: results of single operations, with numbers that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tael.errors import Rejected
from tael.model.histogram import (
    CUSTOM_BUCKETS,
    Buckets,
    compact,
    concatenate,
    empty,
    from_columns,
)
from tael.model.series import STALE, Samples, labels_of
from tael.vectors.histograms import functions as read
from tael.vectors.histograms.binary import Cells, Combined, combine
from tael.vectors.histograms.documents import documents
from tael.vectors.histograms.from_classic import converted
from tael.vectors.histograms.notes import Note
from tael.vectors.histograms.sums import average_by, sum_by
from tael.vectors.histograms.text import parse, series, strings
from tael.vectors.histograms.trim import trimmed
from tests.support.histograms import result, several, shown


def total(*texts: str) -> str:
    rows = np.arange(len(texts))
    return shown(sum_by(several(*texts), rows, rows * 0, 1).histograms)[0]


def test_schemas_meet_at_the_coarsest() -> None:
    """Buckets 1, 2 of schema 1 are bucket 1 of schema 0."""
    assert total("schema:1 count:3 buckets:[1 2] offset:1", "count:4 buckets:[4] offset:1") == "count:7 offset:1 buckets:[7]"


def test_a_wider_zero_bucket_absorbs_the_buckets_in_it() -> None:
    """And grows to the end of a populated bucket in which it ends."""
    assert total("count:3 buckets:[1 2] offset:-1", "count:1 z_bucket:1 z_bucket_w:0.5") == "count:4 z_bucket:2 z_bucket_w:0.5 buckets:[2]"
    assert total("count:3 buckets:[1 2] offset:-1", "count:1 z_bucket:1 z_bucket_w:0.6") == "count:4 z_bucket:4 z_bucket_w:1"
    assert (
        total("count:3 n_buckets:[1 2] offset:-1", "count:1 z_bucket:1 z_bucket_w:0.6")
        == "count:4 z_bucket:2 z_bucket_w:1 n_offset:1 n_buckets:[2]"
    )


def test_custom_bounds_meet_at_those_that_all_have() -> None:
    """With a note; without common bounds everything is in one bucket."""
    one, other = "schema:-53 count:6 custom_values:[1 2 3] buckets:[1 2 3]", "schema:-53 count:9 custom_values:[2 4] buckets:[4 5]"
    both = several(one, other, "schema:-53 count:1 custom_values:[9] buckets:[1]")
    found = sum_by(both, np.array([0, 1, 1, 2]), np.array([0, 0, 1, 1]), 2)
    assert shown(found.histograms) == [
        "schema:-53 count:15 custom_values:[2] buckets:[7 8]",
        "schema:-53 count:10 custom_values:[] buckets:[10]",
    ]
    assert found.notes[Note.BOUNDS_RECONCILED_IN_AGGREGATION].tolist() == [True, True]


def test_exponential_and_custom_buckets_do_not_add_up() -> None:
    """Their group has no result; the next group has."""
    both = several("count:1 buckets:[1]", "schema:-53 count:1 custom_values:[5] buckets:[1]")
    found = sum_by(both, np.array([0, 1, 1]), np.array([0, 0, 1]), 3)
    assert found.present.tolist() == [False, True, False]
    assert found.notes[Note.EXPONENTIAL_AND_CUSTOM].tolist() == [True, False, False]
    assert shown(found.histograms)[1] == "schema:-53 count:1 custom_values:[5] buckets:[1]"


def test_sums_lose_nothing_and_means_do_not_overflow() -> None:
    """Like sums and means of floats."""
    assert total("sum:1e100", "sum:1", "sum:-1e100") == "sum:1"
    large = several("count:2 sum:1.5e308 buckets:[1]", "count:4 sum:1.6e308 buckets:[3]")
    mean = average_by(large, np.arange(2), np.zeros(2, np.int64), 1)
    assert shown(mean.histograms) == ["count:3 sum:1.55e+308 buckets:[2]"]


@pytest.mark.parametrize(
    ("hints", "result"),
    [
        (("gauge", "not_reset"), " counter_reset_hint:gauge"),
        (("not_reset", "not_reset"), " counter_reset_hint:not_reset"),
        (("not_reset", "unknown"), ""),
        (("reset", "not_reset"), ""),
        (("reset", "not_reset", "gauge"), " counter_reset_hint:gauge"),
    ],
)
def test_hints_of_sums(hints: tuple[str, ...], result: str) -> None:
    """A gauge makes the sum a gauge, equal hints are kept, others become unknown; a reset next to none is noted."""
    members = several(*(f"count:1 counter_reset_hint:{hint}" for hint in hints))
    found = sum_by(members, np.arange(len(hints)), np.zeros(len(hints), np.int64), 1)
    assert shown(found.histograms) == [f"count:{len(hints)}{result}"]
    assert (Note.RESET_COLLISION_IN_AGGREGATION in found.notes) == ({"reset", "not_reset"} <= set(hints))


def pair(operator: str, left: str | float, right: str | float, *, return_bool: bool = False) -> Combined:
    def side(value: str | float) -> Cells:
        if isinstance(value, str):
            return Cells(np.array([math.nan]), np.array([0]), several(value))
        return Cells(np.array([value]), np.array([-1]), empty())

    return combine(operator, side(left), side(right), return_bool=return_bool)


ONE = "count:4 sum:5 z_bucket:1 z_bucket_w:0.001 buckets:[1 2]"


@pytest.mark.parametrize(
    ("left", "operator", "right", "wanted"),
    [
        (ONE, "*", 2.0, "count:8 sum:10 z_bucket:2 z_bucket_w:0.001 buckets:[2 4]"),
        (-1.0, "*", ONE, "count:-4 sum:-5 z_bucket:-1 z_bucket_w:0.001 counter_reset_hint:gauge buckets:[-1 -2]"),
        (ONE, "*", 0.0, "z_bucket_w:0.001"),
        (ONE, "/", 2.0, "count:2 sum:2.5 z_bucket:0.5 z_bucket_w:0.001 buckets:[0.5 1]"),
        (ONE, "/", 0.0, "count:+Inf sum:+Inf z_bucket:+Inf z_bucket_w:0.001"),
        (ONE, "+", ONE, "count:8 sum:10 z_bucket:2 z_bucket_w:0.001 buckets:[2 4]"),
        (
            ONE,
            "-",
            "count:1 buckets:[1]",
            "count:3 sum:5 z_bucket:1 z_bucket_w:0.001 counter_reset_hint:gauge offset:1 buckets:[2]",
        ),
        (ONE, "==", ONE, ONE),
        (ONE, "!=", ONE, None),
        (ONE, "!=", "count:4", ONE),
        (ONE, "==", "count:4 sum:5 z_bucket:1 z_bucket_w:0.001 buckets:[1 2 0]", ONE),
        (ONE, "</", 1.0, "count:2 sum:0.7076067811865475 z_bucket:1 z_bucket_w:0.001 buckets:[1]"),
        (ONE, ">/", 1.0, "count:2 sum:2.8284271247461903 z_bucket_w:0.001 offset:1 buckets:[2]"),
    ],
)
def test_pairs(left: str | float, operator: str, right: str | float, wanted: str | None) -> None:
    """Arithmetic, comparison and trimming."""
    found = pair(operator, left, right)
    assert result(found) == wanted
    assert not found.notes


@pytest.mark.parametrize(
    ("left", "operator", "right"),
    [
        (ONE, "*", ONE),
        (ONE, "/", ONE),
        (1.0, "/", ONE),
        (ONE, "+", 1.0),
        (ONE, ">", ONE),
        (ONE, "==", 1.0),
        (1.0, "</", ONE),
        (ONE, "%", 2.0),
    ],
)
def test_pairs_without_a_result_are_noted(left: str | float, operator: str, right: str | float) -> None:
    """Types that do not go together."""
    found = pair(operator, left, right)
    assert result(found) is None
    assert found.notes[Note.INCOMPATIBLE_TYPES].tolist() == [True]


def test_comparisons_give_numbers_where_asked() -> None:
    """0 or 1 with ``bool``."""
    assert result(pair("==", ONE, ONE, return_bool=True)) == 1
    assert result(pair("!=", ONE, ONE, return_bool=True)) == 0


def test_custom_and_exponential_pairs_are_noted() -> None:
    """They have no sum."""
    found = pair("+", ONE, "schema:-53 count:1 custom_values:[5] buckets:[1]")
    assert result(found) is None
    assert found.notes[Note.INCOMPATIBLE_BUCKETS].tolist() == [True]
    assert Note.INCOMPATIBLE_BUCKETS.text("+") == "PromQL warning: incompatible bucket layout encountered for binary operator +"


@pytest.mark.parametrize(
    ("text", "rank", "value"),
    [
        ("count:4 buckets:[1 2 1]", 0.5, 2**0.5),
        ("count:4 n_buckets:[1 2 1]", 0.5, -(2**0.5)),
        ("count:4 n_buckets:[1 2 1]", 0.25, -2),
        ("count:2 z_bucket:2 z_bucket_w:0.5", 0.75, 0.25),
        ("count:3 z_bucket:2 z_bucket_w:0.5 buckets:[1]", 0.5, 0.375),
        ("count:4 z_bucket:2 z_bucket_w:0.75 buckets:[2]", 0.75, 0.75 * (4 / 3) ** 0.5),
        ("schema:-53 count:4 custom_values:[5 10] buckets:[1 2 1]", 0.5, 7.5),
        ("schema:-53 count:4 custom_values:[5 10] buckets:[1 2 1]", 0.125, 2.5),
        ("schema:-53 count:4 custom_values:[5 10] buckets:[1 2 1]", 0.99, 10),
        ("schema:-53 count:4 custom_values:[-5 10] buckets:[4]", 0.5, -5),
        ("", 0.5, math.nan),
        (ONE, 1.5, math.inf),
        (ONE, -0.1, -math.inf),
        (ONE, math.nan, math.nan),
    ],
)
def test_quantiles(text: str, rank: float, value: float) -> None:
    """Logarithmic within exponential buckets, linear in the zero bucket and custom ones; open buckets give their bound."""
    found, notes = read.quantile(np.array([rank]), several(text))
    np.testing.assert_allclose(found, [value], rtol=1e-12)
    assert not notes


def test_observations_of_nan_are_noted() -> None:
    """They count as larger than every number."""
    one = several("count:4 sum:NaN buckets:[2]", "count:4 sum:NaN buckets:[2]", "count:2 sum:NaN buckets:[2]")
    found, notes = read.quantile(np.array([0.25, 0.75, 0.25]), one)
    np.testing.assert_allclose(found, [2**-0.5, math.nan, 2**-0.75])
    assert {note: mask.tolist() for note, mask in notes.items()} == {
        Note.QUANTILE_NANS: [False, True, False],
        Note.QUANTILE_NANS_SKEW: [True, False, False],
    }
    share, notes = read.fraction(np.full(3, -math.inf), np.full(3, math.inf), one)
    assert share.tolist() == [0.5, 0.5, 1]
    assert notes[Note.FRACTION_NANS].tolist() == [True, True, False]


def test_numbers_that_are_read_from_histograms() -> None:
    """Mean and variance, with each bucket at its midpoint."""
    both = several("count:4 sum:6 z_bucket:1 buckets:[2 1] offset:1", "schema:-53 count:2 sum:10 custom_values:[4 8] buckets:[0 2]")
    assert read.mean(both).tolist() == [1.5, 5]
    middle = 2**0.5
    wanted = (1.5**2 + 2 * (middle - 1.5) ** 2 + (2 * middle - 1.5) ** 2) / 4
    np.testing.assert_allclose(read.variance(both), [wanted, 1])
    np.testing.assert_equal(read.mean(several("")), [math.nan])


def test_cutting_open_buckets() -> None:
    """Nothing is known about a bucket without a bound, except that a first one that ends above 0 begins at 0."""
    one = several("schema:-53 count:8 sum:50 custom_values:[5 10] buckets:[2 2 4]")
    assert shown(trimmed(one, np.array([2.5]), upper=True)) == ["schema:-53 count:1 sum:1.25 custom_values:[5 10] buckets:[1]"]
    assert shown(trimmed(one, np.array([2.5]), upper=False)) == ["schema:-53 count:7 sum:58.75 custom_values:[5 10] buckets:[1 2 4]"]
    assert shown(trimmed(one, np.array([20]), upper=True)) == ["schema:-53 count:4 sum:20 custom_values:[5 10] buckets:[2 2]"]
    assert shown(trimmed(one, np.array([20]), upper=False)) == ["schema:-53 count:4 sum:80 custom_values:[5 10] offset:2 buckets:[4]"]
    assert shown(trimmed(one, np.array([math.inf]), upper=True)) == shown(one)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{{sum:1 sum:2}}", "histogram.sum"),
        ("{{total:1}}", "histogram.total"),
        ("{{schema:9}}", "histogram.schema"),
        ("{{schema:0.5}}", "histogram.schema"),
        ("{{buckets:1}}", "histogram.buckets"),
        ("{{buckets:[1 x]}}", "histogram.buckets"),
        ("{{counter_reset_hint:maybe}}", "histogram.counter_reset_hint"),
        ("{{sum 1}}", "histogram"),
        ("{sum:1}", "histogram"),
    ],
)
def test_an_invalid_histogram_is_refused_by_its_key(text: str, where: str) -> None:
    """With the keys that would be accepted."""
    with pytest.raises(Rejected) as refused:
        parse(text)
    assert refused.value.where == where
    assert refused.value.accepted


def test_series_of_histograms() -> None:
    """``{{…}}x2``, ``{{…}}+{{…}}x2`` and decreasing series."""
    one, step = several("count:1 sum:2 buckets:[1]"), several("count:1 sum:0.1 buckets:[0 1]")
    assert shown(series(one, None, 2)) == ["count:1 sum:2 buckets:[1]"] * 3
    assert shown(series(one, step, 2)) == ["count:1 sum:2 buckets:[1]", "count:2 sum:2.1 buckets:[1 1]", "count:3 sum:2.2 buckets:[1 2]"]
    assert shown(series(one, one, 1, subtract=True)) == ["count:1 sum:2 buckets:[1]", ""]
    with pytest.raises(Rejected):
        series(one, several("schema:-53"), 1)


def test_histograms_in_words_and_in_json() -> None:
    """In ascending order, each bucket with its own bounds."""
    one = several("count:7 sum:2e6 z_bucket:1 z_bucket_w:0.001 buckets:[0 3] n_buckets:[2 0 1]")
    custom = several("schema:-53 count:3 sum:1e-7 custom_values:[5 10] buckets:[1 0 2]")
    assert strings(concatenate([one, custom])) == [
        "{count:7, sum:2e+06, [-4,-2):1, [-1,-0.5):2, [-0.001,0.001]:1, (1,2]:3}",
        "{count:3, sum:1e-07, [-Inf,5]:1, (10,+Inf]:2}",
    ]
    assert documents(concatenate([one, custom, several("")])) == [
        {
            "count": "7",
            "sum": "2000000",
            "buckets": [[1, "-4", "-2", "1"], [1, "-1", "-0.5", "2"], [3, "-0.001", "0.001", "1"], [0, "1", "2", "3"]],
        },
        {"count": "3", "sum": "1e-07", "buckets": [[3, "-Inf", "5", "1"], [0, "10", "+Inf", "2"]]},
        {"count": "0", "sum": "0"},
    ]


def test_classic_histograms_become_native_ones() -> None:
    """Cumulative counts become buckets; what is not cumulative, or stale, is left out."""
    names = [("_bucket", "1"), ("_bucket", "2.5"), ("_bucket", "+Inf"), ("_sum", ""), ("_count", ""), ("", "")]
    labels = [labels_of({"__name__": f"h{suffix}", "le": le, "job": "a"}) for suffix, le in names]
    columns = [[1, 3, STALE], [4, 2, STALE], [5, 5, STALE], [7.5, 8, STALE], [5, 5, STALE], [9, 9, 9]]
    samples = Samples(labels, np.arange(0, 19, 3), np.tile([10, 20, 30], 6), np.array(columns).ravel())
    found = converted(samples)
    assert list(found.labels) == [labels_of({"__name__": "h", "job": "a"})]
    assert found.times_ms.tolist() == [10]
    assert found.histograms is not None
    assert shown(found.histograms) == ["schema:-53 count:5 sum:7.5 custom_values:[1 2.5] buckets:[1 3 1]"]


def test_columns_of_a_table_become_histograms() -> None:
    """Rows share their custom bounds, and empty buckets are removed."""
    none = Buckets(np.zeros(4, np.int64), np.empty(0, np.int32), np.empty(0))
    zeros = np.zeros(3)
    found = from_columns(
        schema=np.array([0, CUSTOM_BUCKETS, CUSTOM_BUCKETS], np.int32),
        count=np.array([1.0, 2.0, 3.0]),
        sum=zeros,
        zero_threshold=zeros,
        zero_count=zeros,
        positive=Buckets(np.array([0, 2, 3, 4]), np.array([3, 4, 0, 1], np.int32), np.array([0.0, 1.0, 2.0, 3.0])),
        negative=none,
        custom=(np.array([0, 0, 2, 4]), np.array([1.0, 2.0, 1.0, 2.0])),
        reset_hint=np.zeros(3, np.uint8),
    )
    assert shown(found) == [
        "count:1 offset:4 buckets:[1]",
        "schema:-53 count:2 custom_values:[1 2] buckets:[2]",
        "schema:-53 count:3 custom_values:[1 2] offset:1 buckets:[3]",
    ]
    assert found.layouts == ((1.0, 2.0),)
    assert compact(found).positive is found.positive
    assert len(concatenate([])) == len(empty()) == 0
