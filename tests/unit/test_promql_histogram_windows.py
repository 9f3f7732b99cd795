"""Native histograms over time: resets and their hints, rates and other functions of windows, and cutting buckets open; with numbers that
can be checked by hand.
"""

from __future__ import annotations

import math

import numpy as np

from tael.model.histogram import (
    RESET_GAUGE,
    RESET_NO,
    RESET_UNKNOWN,
)
from tael.model.series import Samples
from tael.vectors.histograms import windows as histogram_windows
from tael.vectors.histograms.binary import Combined
from tael.vectors.histograms.notes import Note
from tael.vectors.histograms.resets import detect, hinted
from tests.support.histograms import range_function, result, several


def test_resets() -> None:
    """Detected by the hint, the count, a bucket, the zero bucket, the schema or the kind."""
    rows = several(
        "count:3 buckets:[1 2]",
        "count:3 buckets:[2 1]",
        "count:4 buckets:[2 2]",
        "schema:1 count:9 buckets:[4 4]",
        "schema:-53 count:10 custom_values:[5] buckets:[9]",
        "schema:-53 count:11 custom_values:[4 5] buckets:[4 5]",
        "count:9 counter_reset_hint:reset",
        "count:1 counter_reset_hint:not_reset",
    )
    later = np.arange(1, 8)
    assert detect(rows, later, later - 1).tolist() == [True, False, True, True, False, True, False]


def test_a_wider_zero_bucket_is_a_reset_only_if_it_cuts_a_bucket() -> None:
    """Observations that move into it still count."""
    rows = several("count:3 buckets:[1 2] offset:-1", "count:3 z_bucket:1 z_bucket_w:0.5 buckets:[2]", "count:9 z_bucket:9 z_bucket_w:0.7")
    assert detect(rows, np.array([1, 2]), np.array([0, 1])).tolist() == [False, True]


def test_hints_that_a_storage_finds() -> None:
    """A sample after one of the same layout and without a reset gets a hint; a first sample, and one after a reset, does not."""
    texts = ("count:1 buckets:[1]", "count:2 buckets:[2]", "count:1 buckets:[1]", "count:5 counter_reset_hint:gauge", "schema:1 count:9")
    samples = Samples(
        [()], np.array([0, 6]), np.arange(6), np.array([math.nan] * 5 + [1.0]), np.array([0, 1, 2, 3, 4, -1]), several(*texts)
    )
    found = hinted(samples)
    assert found.histograms is not None
    assert found.histograms.reset_hint.tolist() == [RESET_UNKNOWN, RESET_NO, RESET_UNKNOWN, RESET_GAUGE, RESET_UNKNOWN]


def over(function: str, *samples: str | float, minutes: int = 5) -> histogram_windows.Evaluated:
    """One window over samples a minute apart, which ends with the last one."""
    histograms = [sample for sample in samples if isinstance(sample, str)]
    position = np.cumsum([isinstance(sample, str) for sample in samples]) - 1
    position = np.where([isinstance(sample, str) for sample in samples], position, -1)
    values = np.array([math.nan if isinstance(sample, str) else sample for sample in samples])
    flat = Samples([()], np.array([0, len(samples)]), np.arange(len(samples)) * 60_000, values, position, several(*histograms))
    end = np.array([(len(samples) - 1) * 60_000])
    windows = histogram_windows.Windows(flat, np.array([0]), np.array([len(samples)]), end - minutes * 60_000, end)
    return range_function(function, windows)


def of(found: histogram_windows.Evaluated) -> str | float | None:
    return result(Combined(found.present, found.samples, {}))


def test_rates_reach_to_the_edges_of_a_window() -> None:
    """But not to before the counter was 0."""
    found = over("increase", "count:1 sum:1 buckets:[1]", "count:2 sum:2 buckets:[2]", "count:3 sum:3 buckets:[3]", minutes=4)
    assert of(found) == "count:2.5 sum:2.5 counter_reset_hint:gauge buckets:[2.5]"
    found = over("rate", "count:0.5 buckets:[0.5]", "count:1.5 buckets:[1.5]", minutes=2)
    assert of(found) == "count:0.0125 counter_reset_hint:gauge buckets:[0.0125]"


def test_incompatible_samples_of_a_window_are_annotated() -> None:
    """Floats with histograms, gauges as counters and vice versa, two kinds of buckets."""
    custom = "schema:-53 count:2 custom_values:[5] buckets:[2]"
    for function in ("rate", "delta", "sum_over_time", "avg_over_time", "irate", "idelta"):
        found = over(function, 1.0, "count:1 buckets:[1]")
        assert of(found) is None
        assert set(found.notes) == {Note.MIXED_IN_SERIES}
    gauge = "count:1 buckets:[1] counter_reset_hint:gauge"
    assert set(over("rate", gauge, gauge).notes) == set(over("irate", gauge, gauge).notes) == {Note.NOT_COUNTER}
    assert set(over("delta", gauge, "count:1").notes) == set(over("idelta", "count:1", gauge).notes) == {Note.NOT_GAUGE}
    found = over("delta", "count:1 buckets:[1]", custom)
    assert of(found) is None
    assert Note.EXPONENTIAL_AND_CUSTOM in found.notes
    assert of(over("rate", "count:1 buckets:[1]", custom, custom)) is not None


def test_windows_of_floats_and_histograms() -> None:
    """Both are counted, returned and compared."""
    mixed = (1.0, "count:1 buckets:[1]", "count:1 buckets:[1]", 3.0, 2.0)
    assert of(over("count_over_time", *mixed)) == 5
    assert of(over("present_over_time", *mixed)) == 1
    assert of(over("changes", *mixed)) == 3
    assert of(over("resets", *mixed)) == 3
    assert of(over("last_over_time", *mixed)) == 2
    assert of(over("first_over_time", *mixed)) == 1
    assert of(over("irate", *mixed)) == 2 / 60
    assert of(over("idelta", *mixed)) == -1
    assert over("last_over_time", 1.0, "count:1").samples.cells.tolist() == [0]


def test_too_few_samples_have_no_rate() -> None:
    """One sample is too few, without a note."""
    for function in ("rate", "increase", "delta", "irate", "idelta"):
        found = over(function, "count:1 buckets:[1]")
        assert of(found) is None
        assert not found.notes
