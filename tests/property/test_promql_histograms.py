"""Laws of native histograms that sums, quantiles, windows and text obey for all histograms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from tael.model.histogram import CUSTOM_BUCKETS, RESET_UNKNOWN, Histograms, concatenate
from tael.model.series import Samples
from tael.vectors.compensated import run_sums
from tael.vectors.histograms import functions as histogram_functions
from tael.vectors.histograms import over_time as histogram_over_time
from tael.vectors.histograms import terms as histogram_terms
from tael.vectors.histograms import windows as histogram_windows
from tael.vectors.histograms.binary import Cells, combine, negate
from tael.vectors.histograms.bounds import limits
from tael.vectors.histograms.resets import detect, equal
from tael.vectors.histograms.scaling import scaled
from tael.vectors.histograms.sums import average_by, sum_by, weighted
from tael.vectors.histograms.text import expressions, parse
from tael.vectors.histograms.trim import trimmed
from tests.support.histograms import OF_HISTOGRAMS, range_function

SCHEMAS = st.integers(-4, 8)
COUNTS = st.lists(st.integers(0, 9), max_size=8)
LAYOUTS = st.sampled_from([(), (0.0,), (5.0, 10.0), (-10.0, 5.0, 10.0), (1.0, 2.0, 5.0, 10.0, 20.0)])


@st.composite
def exponential(draw: st.DrawFn, schema: st.SearchStrategy[int] = SCHEMAS, *, zero: bool = True) -> str:
    """The literal of an exponential histogram with integer counts, so that their sums are exact."""
    buckets, negative = draw(COUNTS), draw(COUNTS)
    zero_count = draw(st.integers(0, 5)) if zero else 0
    width = draw(st.sampled_from([0.0, 0.001, 0.3, 1.0])) if zero else 0.0
    count = sum(buckets) + sum(negative) + zero_count
    return (
        f"{{{{schema:{draw(schema)} count:{count} sum:{draw(st.integers(-99, 99))} z_bucket:{zero_count} z_bucket_w:{width}"
        f" offset:{draw(st.integers(-6, 6))} buckets:[{' '.join(map(str, buckets))}]"
        f" n_offset:{draw(st.integers(-6, 6))} n_buckets:[{' '.join(map(str, negative))}]}}}}"
    )


@st.composite
def custom(draw: st.DrawFn, layouts: st.SearchStrategy[tuple[float, ...]] = LAYOUTS) -> str:
    """The literal of a histogram with custom buckets."""
    layout = draw(layouts)
    counts = draw(st.lists(st.integers(0, 9), min_size=len(layout) + 1, max_size=len(layout) + 1))
    return (
        f"{{{{schema:{CUSTOM_BUCKETS} count:{sum(counts)} sum:{draw(st.integers(-99, 99))}"
        f" custom_values:[{' '.join(map(str, layout))}] buckets:[{' '.join(map(str, counts))}]}}}}"
    )


KIND = st.sampled_from([exponential(), custom()])
SEVERAL = KIND.flatmap(lambda kind: st.lists(kind, min_size=1, max_size=6))


def read(texts: list[str]) -> Histograms:
    return concatenate([parse(text) for text in texts])


def same(left: Histograms, right: Histograms) -> bool:
    """Whether two sequences of histograms are equal one by one, apart from hints."""
    rows = np.arange(len(left))
    return len(left) == len(right) and bool(equal(concatenate([left, right]), rows, rows + len(left)).all())


def disjoint(histograms: Histograms) -> bool:
    """Whether no bucket overlaps the zero bucket, as in all histograms that clients send and sums produce."""
    sides = (histograms.positive, histograms.negative)
    begins = [(limits(histograms, side)[0], histograms.zero_threshold[side.owner]) for side in sides]
    return all(bool((lower >= width).all()) for lower, width in begins) or bool((histograms.bounds >= 0).all())


def add(histograms: Histograms, rows: list[int], weights: list[float] | None = None, coarsest: int | None = None) -> Histograms:
    """One weighted sum."""
    limit = None if coarsest is None else np.array([coarsest], np.int32)
    ones = np.array(weights or [1.0] * len(rows))
    return weighted(histograms, np.array(rows), ones, np.zeros(len(rows), np.int64), 1, limit).histograms


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40), st.integers(1, 7))
def test_sums_of_runs_are_as_exact_as_can_be(values: list[float], size: int) -> None:
    """The sum of each run is exact to one unit in the last place of what cancels."""
    lengths = [len(values[i : i + size]) for i in range(0, len(values), size)]
    found = run_sums(np.array(values), np.array(lengths))
    for total, begin in zip(found.tolist(), range(0, len(values), size), strict=True):
        run = values[begin : begin + size]
        largest = max(map(abs, run))
        if largest < 1e300:
            assert math.isclose(total, math.fsum(run), rel_tol=1e-15, abs_tol=largest * 1e-30)


@given(KIND.flatmap(lambda kind: st.tuples(kind, kind)))
def test_subtraction_undoes_addition(pair: tuple[str, str]) -> None:
    """(a + b) - b is a, in the layout that a and b have in common."""
    both = read(list(pair))
    assert same(add(both, [0, 1, 1], [1.0, 1.0, -1.0]), add(both, [0, 1, 1], [1.0, 0.5, -0.5]))
    total = concatenate([add(both, [0, 1]), both])
    again = add(total, [0, 2], [1.0, -1.0])
    wanted = add(total, [0, 1, 0], [1.0, 1.0, -1.0])
    assert same(again, wanted)


@given(st.lists(exponential(st.just(4)), min_size=2, max_size=4), st.integers(-4, 4))
def test_resolution_may_be_reduced_before_or_after_adding(texts: list[str], schema: int) -> None:
    """Unless zero buckets have to grow into buckets, which depends on the buckets' resolution."""
    several = read(texts)
    several = replace(several, zero_threshold=np.zeros(len(several)))
    rows = list(range(len(several)))
    coarse = concatenate([add(several, [row], coarsest=schema) for row in rows])
    assert same(add(coarse, rows), add(several, rows, coarsest=schema))


@given(SEVERAL)
def test_a_sum_does_not_depend_on_the_order(texts: list[str]) -> None:
    """Nor on how many sums are computed at once."""
    several = read(texts)
    rows = np.arange(len(several))
    forward = sum_by(several, rows, rows % 2, 2)
    backward = sum_by(several, rows[::-1], rows[::-1] % 2, 2)
    assert same(forward.histograms, backward.histograms)
    for group in range(2):
        alone = sum_by(several, rows[rows % 2 == group], np.zeros(int((rows % 2 == group).sum()), np.int64), 1)
        assert same(alone.histograms, forward.histograms.take(np.array([group])))
        assert alone.present[0] == forward.present[group] == (len(several) > group)


@given(SEVERAL)
def test_a_mean_is_the_sum_divided(texts: list[str]) -> None:
    """Up to rounding."""
    several = read(texts)
    rows, one = np.arange(len(several)), np.zeros(len(several), np.int64)
    mean, total = average_by(several, rows, one, 1).histograms, sum_by(several, rows, one, 1).histograms
    np.testing.assert_allclose(mean.positive.counts * len(rows), total.positive.counts, rtol=1e-15)
    np.testing.assert_allclose(mean.count * len(rows), total.count, rtol=1e-15)


@given(SEVERAL)
def test_counts_of_buckets_survive_adding(texts: list[str]) -> None:
    """Every observation of a summand is in some bucket of the sum."""
    several = read(texts)
    total = add(several, list(range(len(several))))

    def held(histograms: Histograms) -> float:
        return float(histograms.positive.counts.sum() + histograms.negative.counts.sum() + histograms.zero_count.sum())

    assert held(total) == held(several)


@given(exponential() | custom())
def test_twice_negated_is_the_same(text: str) -> None:
    """And a histogram minus itself is empty."""
    one = parse(text)
    assert same(negate(negate(one)), one)
    nothing = combine("-", cells(one), cells(one)).samples.histograms
    assert nothing.count[0] == 0
    assert len(nothing.positive.counts) == len(nothing.negative.counts) == 0


def cells(one: Histograms) -> Cells:
    return Cells(np.array([np.nan]), np.array([0]), one)


@given(KIND.flatmap(lambda kind: st.tuples(kind, kind)))
def test_only_fewer_observations_are_a_reset(pair: tuple[str, str]) -> None:
    """A counter that grew by another histogram was not reset; going back is a reset if anything had been observed."""
    both = read(list(pair))
    grown = concatenate([both.take(np.array([0])), add(both, [0, 1])])
    first, second = np.array([0]), np.array([1])
    wider = both.zero_threshold[1] > both.zero_threshold[0] and grown.zero_threshold[1] != both.zero_threshold[1]
    if not wider:
        assert not detect(grown, second, first)[0]
    if both.count[1] > 0:
        assert detect(grown, first, second)[0]


@given(exponential() | custom(LAYOUTS.filter(bool)), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_quantiles_grow_with_their_rank(text: str, ranks: list[float]) -> None:
    """A higher rank never gives a smaller number."""
    several = parse(text).take(np.zeros(len(ranks), np.int64))
    assume(disjoint(several))
    values, notes = histogram_functions.quantile(np.sort(ranks), several)
    assert not notes
    if several.count[0] > 0:
        assert (np.diff(values) >= -1e-9 * np.abs(values[1:])).all()


@given(exponential(zero=False), st.floats(0.01, 0.99))
def test_the_fraction_below_a_quantile_is_its_rank(text: str, rank: float) -> None:
    """Within populated buckets, histogram_fraction is the inverse of histogram_quantile."""
    one = parse(text)
    if one.count[0] == 0:
        return
    value, _ = histogram_functions.quantile(np.array([rank]), one)
    share, _ = histogram_functions.fraction(np.array([-np.inf]), value, one)
    assert math.isclose(share[0], rank, rel_tol=1e-6, abs_tol=1e-9)


@given(exponential() | custom(), st.floats(-30, 30))
def test_both_parts_of_a_trim_add_up_to_the_whole(text: str, at: float) -> None:
    """``</`` and ``>/`` divide each finite bucket without losing anything."""
    one = parse(text)
    assume(disjoint(one))
    below, above = (trimmed(one, np.array([at]), upper=upper) for upper in (True, False))
    if one.bounds[0] < 0:
        assert math.isclose(below.count[0] + above.count[0], one.count[0], rel_tol=1e-9)
        share, _ = histogram_functions.fraction(np.array([-np.inf]), np.array([at]), one)
        if one.count[0] > 0 and at != 0:
            assert math.isclose(below.count[0], share[0] * one.count[0], rel_tol=1e-6, abs_tol=1e-6)
    assert below.count[0] + above.count[0] <= one.count[0] * (1 + 1e-9)


@given(exponential() | custom(), st.sampled_from(["", " counter_reset_hint:gauge", " counter_reset_hint:not_reset"]))
def test_text_reads_back(text: str, hint: str) -> None:
    """Printing and parsing is the identity."""
    one = parse(text.replace("}}", hint + "}}"))
    again = parse(expressions(one)[0])
    assert same(one, again)
    assert one.reset_hint[0] == again.reset_hint[0]
    assert expressions(again) == expressions(one)


@st.composite
def windows(draw: st.DrawFn) -> histogram_windows.Windows:
    """Two series of histograms, with a few floats, and some windows over each."""
    texts = draw(st.lists(exponential() | custom(LAYOUTS), min_size=1, max_size=4))
    picks = draw(st.lists(st.integers(-1, len(texts) - 1), min_size=2, max_size=10))
    half = draw(st.integers(1, len(picks) - 1))
    position = np.array(picks)
    values = np.where(position < 0, np.arange(len(picks)) % 3, np.nan)
    samples = Samples([(), ()], np.array([0, half, len(picks)]), np.arange(len(picks)) * 1000 + 500, values, position, read(texts))
    spans = draw(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5))
    lo, hi = np.array([_span(half, len(picks), *span) for span in spans]).T
    native = histogram_windows.with_histograms(samples, lo, hi)
    lo, hi = lo[native], hi[native]
    return histogram_windows.Windows(samples, lo, hi, lo * 1000, hi * 1000)


def _span(half: int, size: int, second: bool, begin: int, length: int) -> tuple[int, int]:
    first, last = (half, size) if second else (0, half)
    lo = first + begin % (last - first)
    return lo, min(last, lo + length)


@given(windows(), st.sampled_from(OF_HISTOGRAMS))
def test_many_windows_are_as_each_alone(many: histogram_windows.Windows, function: str) -> None:
    """Evaluating windows together or in parts changes nothing."""
    together = range_function(function, many)
    for row in range(len(many.lo)):
        alone = range_function(function, many.take(np.array([row])))
        assert alone.present[0] == together.present[row]
        assert {note for note, mask in together.notes.items() if mask[row]} == set(alone.notes)
        if not alone.present[0]:
            continue
        left, right = alone.samples, together.samples
        assert (left.cells[0] >= 0) == (right.cells[row] >= 0)
        if left.cells[0] >= 0:
            assert same(left.histograms.take(left.cells[:1]), right.histograms.take(right.cells[row : row + 1]))
        else:
            assert left.values[0] == right.values[row]


@given(st.lists(exponential(), min_size=2, max_size=5))
def test_increase_counts_what_a_loop_counts(texts: list[str]) -> None:
    """The last minus the first, plus the value before each reset, added pair by pair."""
    several = read(texts)
    size = len(several)
    samples = Samples([()], np.array([0, size]), np.arange(size) * 1000, np.full(size, np.nan), np.arange(size), several)
    lo, hi = np.array([0]), np.array([size])
    # no room at the edges, so that nothing is extrapolated
    found = range_function("increase", histogram_windows.Windows(samples, lo, hi, lo * 0, hi * 0 + (size - 1) * 1000))
    fell = [bool(detect(several, np.array([row]), np.array([row - 1]))[0]) for row in range(1, size)]
    rows = [size - 1, *([] if fell[0] else [0]), *(row for row in range(1, size - 1) if fell[row])]
    weights = [1.0, *([] if fell[0] else [-1.0]), *(1.0 for row in range(1, size - 1) if fell[row])]
    considered = several.schema[0 if not fell[0] else 1 :]
    assert found.present[0]
    assert same(found.samples.histograms, add(several, rows, weights, int(considered.min())))


@given(SEVERAL, st.integers(1, 3))
def test_sums_are_cut_where_there_is_much_to_add(texts: list[str], limit: int) -> None:
    """Sums computed in parts equal the whole."""
    several = read(texts)
    rows = np.arange(len(several))
    whole = weighted(several, rows, np.ones(len(rows)), rows, len(rows))
    before, histogram_terms.MAX_ENTRIES = histogram_terms.MAX_ENTRIES, limit
    try:
        parts = weighted(several, rows, np.ones(len(rows)), rows, len(rows))
    finally:
        histogram_terms.MAX_ENTRIES = before
    assert same(whole.histograms, parts.histograms)


@given(exponential() | custom(), st.floats(-4, 4))
def test_a_scaled_histogram_keeps_its_shape(text: str, factor: float) -> None:
    """Counts are multiplied, and a positive factor leaves quantiles unchanged."""
    one = parse(text)
    other = scaled(one, np.array([factor]))
    assert other.count[0] == one.count[0] * factor
    if factor > 0.01 and one.count[0] > 0:
        quantiles = [histogram_functions.quantile(np.array([0.3]), histograms)[0][0] for histograms in (one, other)]
        assert math.isclose(*quantiles, rel_tol=1e-6, abs_tol=1e-9) or quantile_is_at_an_edge(one, 0.3)
    assert (other.reset_hint[0] == RESET_UNKNOWN) == (factor >= 0)


def quantile_is_at_an_edge(one: Histograms, rank: float) -> bool:
    """Whether the rank is at the border of two buckets, where rounding decides between them."""
    near, _ = histogram_functions.quantile(np.array([rank - 1e-9, rank + 1e-9]), one.take(np.zeros(2, np.int64)))
    return bool(abs(near[1] - near[0]) > 1e-6)


@given(windows(), st.sampled_from(["sum_over_time", "avg_over_time", "rate", "delta", "changes"]), st.integers(1, 4))
def test_windows_are_evaluated_in_parts_where_they_hold_much(many: histogram_windows.Windows, function: str, limit: int) -> None:
    """With the same result."""
    whole = range_function(function, many)
    before, histogram_over_time.MAX_MEMBERS = histogram_over_time.MAX_MEMBERS, limit
    try:
        parts = range_function(function, many)
    finally:
        histogram_over_time.MAX_MEMBERS = before
    assert parts.present.tolist() == whole.present.tolist()
    assert {note: mask.tolist() for note, mask in parts.notes.items()} == {note: mask.tolist() for note, mask in whole.notes.items()}
    left, right = whole.samples, parts.samples
    rows = np.flatnonzero(whole.present & (left.cells >= 0))
    np.testing.assert_array_equal(left.values, right.values)
    assert same(left.histograms.take(left.cells[rows]), right.histograms.take(right.cells[rows]))
