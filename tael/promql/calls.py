"""Function calls: each gets its arguments evaluated and gives a value. Range functions are in range_call, the rest here by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tael.errors import Rejected
from tael.model.histogram import Histograms
from tael.model.series import Bools, Floats, Labels
from tael.promql import info as function_info
from tael.promql.ast import Call, MatrixSelector, String, Subquery, VectorSelector, unwrapped
from tael.vectors import elementwise as numbers
from tael.vectors import labels as by_label
from tael.vectors import vectors
from tael.vectors.annotations import bad_quantile, number, vain_sort
from tael.vectors.histograms import functions as native
from tael.vectors.histograms import quantiles as classic
from tael.vectors.ranges import call as range_call
from tael.vectors.values import Scalar, Steps, Value, Vector

if TYPE_CHECKING:
    from tael.promql.evaluate import Evaluation

Function = Callable[["Evaluation", Call, Steps], Value]

_OF_HISTOGRAM: dict[str, Callable[[Histograms], Floats]] = {
    "histogram_count": lambda histograms: histograms.count,
    "histogram_sum": lambda histograms: histograms.sum,
    "histogram_avg": native.mean,
    "histogram_stdvar": native.variance,
    "histogram_stddev": lambda histograms: np.sqrt(native.variance(histograms)),
}
_OF_TOTALS = frozenset({"histogram_count", "histogram_sum", "histogram_avg"})


def call(run: Evaluation, node: Call, steps: Steps) -> Value:
    """The value of a call at each step."""
    name = node.function
    if name in range_call.FUNCTIONS:
        return _over_range(run, node, steps)
    if name in numbers.UNARY:
        vector = run.vector(node.args[0], steps)
        return vectors.floats_only(vector, numbers.UNARY[name](vector.values))
    if name in numbers.CALENDAR:
        return _calendar(run, node, steps)
    if name in _OF_HISTOGRAM:
        told = run.with_resets_told(node.args[0]) if name in _OF_TOTALS else run
        return _of_histograms(told.vector(node.args[0], steps), _OF_HISTOGRAM[name])
    if name not in _NAMED:
        raise Rejected(f'unknown function with name "{name}"')
    return _NAMED[name](run, node, steps)


def _over_range(run: Evaluation, node: Call, steps: Steps) -> Vector:
    index = next(i for i, argument in enumerate(node.args) if isinstance(unwrapped(argument), MatrixSelector | Subquery))
    over = unwrapped(node.args[index])
    assert isinstance(over, MatrixSelector | Subquery)
    name, place = node.function, over.pos.start
    if (grid := run.grid(node, steps)) is not None:
        if name in range_call.COUNTERS:
            range_call.note_counters(grid, run.notes, place)
        return grid
    if isinstance(over, MatrixSelector) and (over.selector.anchored or over.selector.smoothed):
        return run.extended(name, over, steps)
    arguments = [run.scalar(argument, steps) for i, argument in enumerate(node.args) if i != index]
    ranges = run.ranges(over, steps)
    if name == "absent_over_time":
        matchers = over.selector.matchers if isinstance(over, MatrixSelector) else ()
        return _absent(by_label.absent_labels(matchers), np.any(ranges.present, axis=0))
    place = _at(node, 0)
    return range_call.call(name, ranges, arguments, run.notes, (place, place), run.settings.check)


def _at(node: Call, index: int) -> int:
    """Where an argument stands; parentheses around it do not count."""
    return unwrapped(node.args[index]).pos.start


def _absent(labels: Labels, present: Bools) -> Vector:
    return Vector([labels], np.ones((1, len(present))), ~present[None, :])


def _calendar(run: Evaluation, node: Call, steps: Steps) -> Vector:
    if not node.args:
        return _of_scalar(numbers.calendar(node.function, np.floor(steps.times_ms / 1000)))
    vector = run.vector(node.args[0], steps)
    return vectors.floats_only(vector, numbers.calendar(node.function, vector.values))


def of_scalar(value: Value) -> Vector:
    """A scalar as the one series without labels."""
    assert isinstance(value, Scalar)
    return _of_scalar(value.values)


def _of_scalar(values: Floats) -> Vector:
    return Vector([()], values[None, :], np.ones((1, len(values)), np.bool_))


def _of_histograms(vector: Vector, read: Callable[[Histograms], Floats]) -> Vector:
    held = vectors.histogram_cells(vector)
    values = np.zeros(vector.values.shape)
    if vector.cells is not None and vector.histograms is not None and len(vector.histograms):
        values = np.where(held, read(vector.histograms)[vector.cells], 0.0)
    return Vector(vector.labels, values, held, drop_name=vectors.flags(vector, drop_name=True))


def _time(_: Evaluation, __: Call, steps: Steps) -> Scalar:
    return Scalar(steps.times_ms / 1000)


def _pi(_: Evaluation, __: Call, steps: Steps) -> Scalar:
    return Scalar(np.full(steps.count, np.pi))


def _of_two(run: Evaluation, node: Call, steps: Steps) -> Scalar:
    choose = np.maximum if node.function == "max_of" else np.minimum
    return Scalar(choose(run.scalar(node.args[0], steps), run.scalar(node.args[1], steps)))


def _query_time(read: Callable[[Steps], int]) -> Function:
    return lambda run, _, steps: Scalar(np.full(steps.count, read(run.query_steps) / 1000))


def _scalar(run: Evaluation, node: Call, steps: Steps) -> Scalar:
    vector = run.vector(node.args[0], steps)
    present = vectors.floats(vector)
    values = np.where(present, vector.values, 0.0).sum(axis=0)
    return Scalar(np.where(present.sum(axis=0) == 1, values, np.nan))


def _vector(run: Evaluation, node: Call, steps: Steps) -> Vector:
    return _of_scalar(run.scalar(node.args[0], steps))


def _timestamp(run: Evaluation, node: Call, steps: Steps) -> Vector:
    argument = unwrapped(node.args[0])
    if isinstance(argument, VectorSelector) and not argument.smoothed:
        vector, times = run.selected(argument, steps)
    else:
        vector = run.vector(node.args[0], steps)
        times = np.broadcast_to(steps.times_ms, vector.values.shape).astype(np.float64)
    return Vector(vector.labels, times / 1000, vector.present, drop_name=vectors.flags(vector, drop_name=True))


def _round(run: Evaluation, node: Call, steps: Steps) -> Vector:
    vector = run.vector(node.args[0], steps)
    nearest = run.scalar(node.args[1], steps) if len(node.args) > 1 else np.ones(steps.count)
    return vectors.floats_only(vector, numbers.rounded(vector.values, nearest))


def _clamp(run: Evaluation, node: Call, steps: Steps) -> Vector:
    vector = run.vector(node.args[0], steps)
    limits = [run.scalar(argument, steps) for argument in node.args[1:]]
    none = np.full(steps.count, np.inf)
    least, most = {"clamp": limits, "clamp_min": [limits[0], none], "clamp_max": [-none, limits[0]]}[node.function]
    values, possible = numbers.clamped(vector.values, least, most)
    result = vectors.floats_only(vector, values)
    return Vector(result.labels, result.values, result.present & possible, drop_name=result.drop_name)


def _absent_vector(run: Evaluation, node: Call, steps: Steps) -> Vector:
    argument = unwrapped(node.args[0])
    matchers = argument.matchers if isinstance(argument, VectorSelector) else ()
    return _absent(by_label.absent_labels(matchers), np.any(run.vector(node.args[0], steps).present, axis=0))


def _text(node: Call, index: int) -> str:
    argument = unwrapped(node.args[index])
    assert isinstance(argument, String)
    return argument.value


def _texts(node: Call, begin: int) -> list[str]:
    return [_text(node, index) for index in range(begin, len(node.args))]


def _label_replace(run: Evaluation, node: Call, steps: Steps) -> Vector:
    target, replacement, source, pattern = _texts(node, 1)
    return by_label.label_replace(run.vector(node.args[0], steps), target, replacement, source, pattern)


def _label_join(run: Evaluation, node: Call, steps: Steps) -> Vector:
    target, separator, *sources = _texts(node, 1)
    return by_label.label_join(run.vector(node.args[0], steps), target, separator, sources)


def _sort(run: Evaluation, node: Call, steps: Steps) -> Vector:
    vector = run.vector(node.args[0], steps)
    descending = node.function.endswith("_desc")
    if run.query_steps.count > 1:
        run.notes.add(vain_sort(), node.pos.start)
    if steps.count > 1:
        return vector
    vector = vectors.without_empty(vector)
    if node.function.startswith("sort_by_label"):
        return by_label.sort_by_label(vector, _texts(node, 1), descending=descending)
    return by_label.sort_by_value(vector, descending=descending)


def _quantile(run: Evaluation, node: Call, steps: Steps) -> Vector:
    q = _valid(run, node, 0, steps)
    known = classic.split(run.vector(node.args[1], steps), run.notes, _at(node, 1))
    at = (_at(node, 0), _at(node, 1))
    return classic.answer(known, classic.quantile(q), run.notes, at, steps.times_ms)


def _quantiles(run: Evaluation, node: Call, steps: Steps) -> Vector:
    label = _text(node, 1)
    asked = [_valid(run, node, index, steps) for index in range(2, len(node.args))]
    known = classic.split(run.vector(node.args[0], steps), run.notes, _at(node, 0))
    at = (_at(node, 0), _at(node, 1))
    parts = []
    for q in asked:
        found = classic.answer(known, classic.quantile(q), run.notes, at, steps.times_ms)
        for value in np.unique(q).tolist() if not np.isnan(q).any() else [np.nan]:
            labels = [vectors.with_label(own, label, classic.labelled(value)) for own in found.labels]
            there = found.present & ((q == value) | np.isnan(q))
            parts.append(Vector(labels, found.values, there, drop_name=found.drop_name))
    return vectors.joined(vectors.stacked(parts))


def _valid(run: Evaluation, node: Call, index: int, steps: Steps) -> Floats:
    q = run.scalar(node.args[index], steps)
    for wrong in {number(value): value for value in q[~((q >= 0) & (q <= 1))].tolist()}.values():
        run.notes.add(bad_quantile(wrong), _at(node, index))
    return q


def _fraction(run: Evaluation, node: Call, steps: Steps) -> Vector:
    lower, upper = run.scalar(node.args[0], steps), run.scalar(node.args[1], steps)
    known = classic.split(run.vector(node.args[2], steps), run.notes, _at(node, 2))
    at = (_at(node, 0), _at(node, 2))
    return classic.answer(known, classic.fraction(lower, upper), run.notes, at, steps.times_ms)


def _info(run: Evaluation, node: Call, steps: Steps) -> Vector:
    base = run.vector(node.args[0], steps)
    selector = unwrapped(node.args[1]) if len(node.args) > 1 else None
    assert selector is None or isinstance(selector, VectorSelector)
    infos, times = run.infos(node, steps)
    return function_info.info(base, infos, times, None if selector is None else selector.matchers)


_NAMED: dict[str, Function] = {
    "time": _time,
    "pi": _pi,
    "start": _query_time(lambda steps: steps.start_ms),
    "end": _query_time(lambda steps: steps.end_ms),
    "step": _query_time(lambda steps: steps.step_ms),
    "range": _query_time(lambda steps: steps.end_ms - steps.start_ms),
    "max_of": _of_two,
    "min_of": _of_two,
    "scalar": _scalar,
    "vector": _vector,
    "timestamp": _timestamp,
    "round": _round,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "absent": _absent_vector,
    "label_replace": _label_replace,
    "label_join": _label_join,
    "sort": _sort,
    "sort_desc": _sort,
    "sort_by_label": _sort,
    "sort_by_label_desc": _sort,
    "histogram_quantile": _quantile,
    "histogram_quantiles": _quantiles,
    "histogram_fraction": _fraction,
    "info": _info,
}
