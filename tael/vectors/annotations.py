"""Annotations of a result: Prometheus' warnings and infos, each with the position in the query that caused it.

An annotation's text begins with its kind. Annotations with the same text are merged; the last position is reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tael.model.series import Floats, Rollups
from tael.syntax.literals import quoted
from tael.syntax.position import place

WARNING, INFO = "PromQL warning: ", "PromQL info: "
COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


@dataclass(slots=True)
class Annotations:
    """Collected while an expression is evaluated; ``at`` is always an offset into ``query``."""

    query: str = ""
    _found: dict[str, int] = field(default_factory=dict)
    _repairs: dict[tuple[str, int], Repairs] = field(default_factory=dict)

    def add(self, text: str, at: int) -> None:
        """Add ``text``, caused by the part of the query at ``at``."""
        self._found[text] = at

    def repaired(self, metric: str, at: int, repairs: Repairs) -> None:
        """Record that classic buckets of ``metric`` were not cumulative; records with the same metric and position are merged."""
        known = self._repairs.get((metric, at))
        self._repairs[metric, at] = repairs if known is None else known.joined(repairs)

    @property
    def warnings(self) -> list[str]:
        """All warnings in the order in which they were first added, each followed by ``(line:column)``."""
        return [f"{text} ({place(self.query, at)})" for text, at in self._found.items() if text.startswith(WARNING)]

    @property
    def infos(self) -> list[str]:
        """All infos in the same form; the repairs of classic histograms come last."""
        infos = [f"{text} ({place(self.query, at)})" for text, at in self._found.items() if text.startswith(INFO)]
        return infos + [f"{repairs.text(metric)} ({place(self.query, at)})" for (metric, at), repairs in self._repairs.items()]


@dataclass(frozen=True, slots=True)
class Repairs:
    """Decreasing counts in classic histograms: in which buckets, the largest decrease, how many samples and over which time."""

    lowest_bound: float
    highest_bound: float
    largest: float
    count: int
    first_ms: int
    last_ms: int

    def joined(self, other: Repairs) -> Repairs:
        """The union of both."""
        return Repairs(
            min(self.lowest_bound, other.lowest_bound),
            max(self.highest_bound, other.highest_bound),
            max(self.largest, other.largest),
            self.count + other.count,
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
        )

    def text(self, metric: str) -> str:
        """Prometheus' message."""
        return (
            f"{INFO}input to histogram_quantile needed to be fixed for monotonicity "
            "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            f"{_named(metric)}, from buckets {number(self.lowest_bound)} to {number(self.highest_bound)}, with a max diff of "
            f"{self.largest:.2g}, over {self.count} samples from {_instant(self.first_ms)} to {_instant(self.last_ms)}"
        )


def number(value: float) -> str:
    """A float as Go's ``%g`` formats it: the shortest digits that parse to the same float, with an exponent below 1e-4 and from 1e6 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    digits = len(repr(value).lstrip("-").split("e")[0].replace(".", "").strip("0"))
    mantissa, _, exponent = f"{value:.{max(digits - 1, 0)}e}".partition("e")
    if -4 <= int(exponent) < 6:
        return f"{value:.{max(digits - 1 - int(exponent), 0)}f}"
    return f"{mantissa}e{exponent}"


def bad_quantile(value: float) -> str:
    """The warning for a quantile outside 0…1."""
    return f"{WARNING}quantile value should be between 0 and 1, got {number(value)}"


def note_quantiles(q: Floats, notes: Annotations, at: int) -> None:
    """Warn about quantiles outside 0…1, once for each value."""
    for wrong in {number(value): value for value in q[~((q >= 0) & (q <= 1))].tolist()}.values():
        notes.add(bad_quantile(wrong), at)


def bad_ratio(value: float, cap: float) -> str:
    """The warning for a ratio outside -1…1; ``cap`` is the value used instead."""
    return f"{WARNING}ratio value should be between -1 and 1, got {number(value)}, capping to {number(cap)}"


def bad_bucket_label(metric: str, label: str) -> str:
    """The warning for a classic bucket without a valid bound."""
    return f'{WARNING}bucket label "le" is missing or has a malformed value of {quoted(label)}{_named(metric)}'


def classic_and_native(metric: str) -> str:
    """The warning for a histogram that has classic and native samples at the same step."""
    return f"{WARNING}vector contains a mix of classic and native histograms{_named(metric)}"


def maybe_no_counter(metric: str) -> str:
    """The info for a counter function over a metric that is not named like a counter."""
    return f"{INFO}metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {quoted(metric)}"


def of_rollups(rollups: Rollups) -> str:
    """The info that older samples come from 5-minute rollups, and whether the result is exact there."""
    text = f"{INFO}uses 5-minute rollups before {_instant(rollups.until_ms)}"
    if rollups.exact:
        return text
    if rollups.histograms:
        exact = "rate, increase, delta and count over time of native histograms, and instant selectors,"
        return f"{text}: approximate there; {exact} are exact where start, step and range are multiples of 5m"
    return f"{text}: approximate there; rate, increase, delta and sum, avg, min, max and count over time, and instant selectors, are exact where start, step and range are multiples of 5m"


def vain_sort() -> str:
    """The warning for a sort in a range query, where the order is lost."""
    return f"{WARNING}sort is ineffective for range queries since results are always ordered by labels"


def _named(metric: str) -> str:
    return f" for metric name {quoted(metric)}" if metric else ""


def _instant(time_ms: int) -> str:
    text = datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{time_ms % 1000:03d}".rstrip("0") + "Z" if time_ms % 1000 else f"{text}Z"
