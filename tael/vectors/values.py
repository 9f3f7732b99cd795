"""Values of expressions: a scalar, a string, or an instant vector, each at all steps of the query.

A range query of one step is an instant query, so there is one evaluator. Vectors are matrices of series by steps; a sample is a float where
``present`` is True and ``cells`` is -1, a native histogram where ``cells`` is a position in ``histograms``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tael.model.histogram import Histograms
from tael.model.series import Bools, Floats, Labels, Longs, Samples


@dataclass(frozen=True, slots=True)
class Steps:
    """The times that a query is evaluated at: ``start_ms``, then every ``step_ms`` up to ``end_ms``. An instant query has one."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def count(self) -> int:
        """The number of steps."""
        return (self.end_ms - self.start_ms) // self.step_ms + 1 if self.step_ms else 1

    @property
    def times_ms(self) -> Longs:
        """The time of each step in milliseconds."""
        return self.start_ms + np.arange(self.count, dtype=np.int64) * self.step_ms


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number a step."""

    values: Floats


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal."""

    value: str


@dataclass(frozen=True, slots=True)
class Vector:
    """An instant vector at every step. ``values`` is NaN where there is no sample or a histogram.

    ``cells`` is None when no sample of the vector is a histogram, which is the common case and the fast one. ``drop_name`` says, series by
    series, that ``__name__`` is to be dropped in the end (delayed name removal); None means that it stays everywhere.
    """

    labels: Sequence[Labels]
    values: Floats
    present: Bools
    cells: Longs | None = None
    histograms: Histograms | None = field(default=None, repr=False)
    drop_name: Bools | None = None

    @property
    def room(self) -> int:
        """Its size in samples: a native histogram counts by its buckets."""
        return self.values.size + (0 if self.histograms is None else self.histograms.room)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A range vector, which only an instant query can answer: the samples of each series in the range, without stale markers."""

    samples: Samples


Value = Scalar | Text | Vector | Matrix
