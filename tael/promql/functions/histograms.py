"""Functions of histograms: statistics of native ones, quantiles and fractions of native and classic ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tael.model.histogram import Histograms
from tael.model.series import Floats
from tael.promql.functions.record import Arguments, Function
from tael.vectors import vectors
from tael.vectors.annotations import note_quantiles
from tael.vectors.histograms import functions as native
from tael.vectors.histograms import quantiles
from tael.vectors.values import Vector


def _read(name: str, of: Callable[[Histograms], Floats], *, hinting_resets: bool = False) -> Function:
    def apply(arguments: Arguments) -> Vector:
        return native.read(arguments.vector(0, hinting_resets=hinting_resets), of)

    return Function(name, ("vector",), "vector", apply)


def _quantile(arguments: Arguments) -> Vector:
    q = _valid(arguments, 0)
    known = quantiles.split(arguments.vector(1), arguments.notes, arguments.at(1))
    at = (arguments.at(0), arguments.at(1))
    return quantiles.answer(known, quantiles.quantile(q), arguments.notes, at, arguments.steps.times_ms)


def _quantiles(arguments: Arguments) -> Vector:
    label = arguments.text(1)
    requested = [_valid(arguments, index) for index in range(2, len(arguments))]
    known = quantiles.split(arguments.vector(0), arguments.notes, arguments.at(0))
    at = (arguments.at(0), arguments.at(1))
    parts, room = [], 0
    for q in requested:
        found = quantiles.answer(known, quantiles.quantile(q), arguments.notes, at, arguments.steps.times_ms)
        # The quantile becomes a label: one that changes from step to step makes a series for each of its values.
        values = np.unique(q).tolist() if not np.isnan(q).any() else [np.nan]
        room += len(values) * found.room
        arguments.require_room(room)
        for value in values:
            labels = [vectors.with_label(own, label, quantiles.labelled(value)) for own in found.labels]
            there = found.present & ((q == value) | np.isnan(q))
            parts.append(Vector(labels, found.values, there, drop_name=found.drop_name))
    return vectors.joined(vectors.stacked(parts))


def _valid(arguments: Arguments, index: int) -> Floats:
    q = arguments.scalar(index)
    note_quantiles(q, arguments.notes, arguments.at(index))
    return q


def _fraction(arguments: Arguments) -> Vector:
    lower, upper = arguments.scalar(0), arguments.scalar(1)
    known = quantiles.split(arguments.vector(2), arguments.notes, arguments.at(2))
    at = (arguments.at(0), arguments.at(2))
    return quantiles.answer(known, quantiles.fraction(lower, upper), arguments.notes, at, arguments.steps.times_ms)


FUNCTIONS = (
    _read("histogram_count", lambda histograms: histograms.count, hinting_resets=True),
    _read("histogram_sum", lambda histograms: histograms.sum, hinting_resets=True),
    _read("histogram_avg", native.mean, hinting_resets=True),
    _read("histogram_stdvar", native.variance),
    _read("histogram_stddev", lambda histograms: np.sqrt(native.variance(histograms))),
    Function("histogram_quantile", ("scalar", "vector"), "vector", _quantile),
    Function("histogram_quantiles", ("vector", "string", "scalar", "scalar"), "vector", _quantiles, variadic=9, experimental=True),
    Function("histogram_fraction", ("scalar", "scalar", "vector"), "vector", _fraction),
)
