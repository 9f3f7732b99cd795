"""Functions of labels and order: label_replace, label_join, the sorts, and absent."""

from __future__ import annotations

import numpy as np

from tael.promql.functions.record import Apply, Arguments, Function
from tael.vectors import labels, vectors
from tael.vectors.annotations import vain_sort
from tael.vectors.values import Vector


def _label_replace(arguments: Arguments) -> Vector:
    target, replacement, source, pattern = arguments.texts(1)
    return labels.label_replace(arguments.vector(0), target, replacement, source, pattern)


def _label_join(arguments: Arguments) -> Vector:
    target, separator, *sources = arguments.texts(1)
    return labels.label_join(arguments.vector(0), target, separator, sources)


def _sort(*, descending: bool) -> Apply:
    def apply(arguments: Arguments) -> Vector:
        vector = _to_be_sorted(arguments)
        return vector if arguments.steps.count > 1 else labels.sort_by_value(vector, descending=descending)

    return apply


def _sort_by_label(*, descending: bool) -> Apply:
    def apply(arguments: Arguments) -> Vector:
        vector = _to_be_sorted(arguments)
        return vector if arguments.steps.count > 1 else labels.sort_by_label(vector, arguments.texts(1), descending=descending)

    return apply


def _to_be_sorted(arguments: Arguments) -> Vector:
    """The argument of a sort; warns in a range query, because only an instant query's result has an order."""
    vector = arguments.vector(0)
    if arguments.query_steps.count > 1:
        arguments.notes.add(vain_sort(), arguments.place)
    return vectors.without_empty(vector) if arguments.steps.count == 1 else vector


def _absent(arguments: Arguments) -> Vector:
    present = np.any(arguments.vector(0).present, axis=0)
    return vectors.absent(labels.absent_labels(arguments.matchers(0)), present)


FUNCTIONS = (
    Function("label_replace", ("vector", "string", "string", "string", "string"), "vector", _label_replace),
    Function("label_join", ("vector", "string", "string", "string"), "vector", _label_join, variadic=-1),
    Function("sort", ("vector",), "vector", _sort(descending=False)),
    Function("sort_desc", ("vector",), "vector", _sort(descending=True)),
    Function("sort_by_label", ("vector", "string"), "vector", _sort_by_label(descending=False), -1, experimental=True),
    Function("sort_by_label_desc", ("vector", "string"), "vector", _sort_by_label(descending=True), -1, experimental=True),
    Function("absent", ("vector",), "vector", _absent),
)
