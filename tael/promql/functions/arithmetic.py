"""Functions of numbers and times: of each sample, of scalars, and of the query's own times."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tael.model.series import Floats
from tael.promql.functions.record import Apply, Arguments, Function
from tael.vectors import elementwise, vectors
from tael.vectors.values import Scalar, Steps, Vector


def _unary(name: str, of: Callable[[Floats], Floats]) -> Function:
    def apply(arguments: Arguments) -> Vector:
        vector = arguments.vector(0)
        return vectors.floats_only(vector, of(vector.values))

    return Function(name, ("vector",), "vector", apply)


def _calendar(name: str) -> Function:
    def apply(arguments: Arguments) -> Vector:
        if not len(arguments):
            return vectors.of_scalar(elementwise.calendar(name, np.floor(arguments.steps.times_ms / 1000)))
        vector = arguments.vector(0)
        return vectors.floats_only(vector, elementwise.calendar(name, vector.values))

    return Function(name, ("vector",), "vector", apply, variadic=1, by_step=True)


def _query_time(name: str, read: Callable[[Steps], int]) -> Function:
    def apply(arguments: Arguments) -> Scalar:
        return Scalar(np.full(arguments.steps.count, read(arguments.query_steps) / 1000))

    return Function(name, (), "scalar", apply, experimental=True)


def _of_two(choose: Callable[[Floats, Floats], Floats]) -> Apply:
    return lambda arguments: Scalar(choose(arguments.scalar(0), arguments.scalar(1)))


def _time(arguments: Arguments) -> Scalar:
    return Scalar(arguments.steps.times_ms / 1000)


def _pi(arguments: Arguments) -> Scalar:
    return Scalar(np.full(arguments.steps.count, np.pi))


def _scalar(arguments: Arguments) -> Scalar:
    return Scalar(vectors.only_value(arguments.vector(0)))


def _vector(arguments: Arguments) -> Vector:
    return vectors.of_scalar(arguments.scalar(0))


def _timestamp(arguments: Arguments) -> Vector:
    vector, times_ms = arguments.timed(0)
    return Vector(vector.labels, times_ms / 1000, vector.present, drop_name=vectors.flags(vector, drop_name=True))


def _round(arguments: Arguments) -> Vector:
    vector = arguments.vector(0)
    nearest = arguments.scalar(1) if len(arguments) > 1 else np.ones(arguments.steps.count)
    return vectors.floats_only(vector, elementwise.rounded(vector.values, nearest))


def _clamp(arguments: Arguments) -> Vector:
    return elementwise.clamp(arguments.vector(0), arguments.scalar(1), arguments.scalar(2))


def _clamp_min(arguments: Arguments) -> Vector:
    return elementwise.clamp(arguments.vector(0), arguments.scalar(1), np.full(arguments.steps.count, np.inf))


def _clamp_max(arguments: Arguments) -> Vector:
    return elementwise.clamp(arguments.vector(0), np.full(arguments.steps.count, -np.inf), arguments.scalar(1))


FUNCTIONS = (
    *(_unary(name, of) for name, of in elementwise.UNARY.items()),
    *(_calendar(name) for name in elementwise.CALENDAR),
    _query_time("start", lambda steps: steps.start_ms),
    _query_time("end", lambda steps: steps.end_ms),
    _query_time("step", lambda steps: steps.step_ms),
    _query_time("range", lambda steps: steps.end_ms - steps.start_ms),
    Function("max_of", ("scalar", "scalar"), "scalar", _of_two(np.maximum), experimental=True),
    Function("min_of", ("scalar", "scalar"), "scalar", _of_two(np.minimum), experimental=True),
    Function("time", (), "scalar", _time, by_step=True),
    Function("pi", (), "scalar", _pi),
    Function("scalar", ("vector",), "scalar", _scalar),
    Function("vector", ("scalar",), "vector", _vector),
    Function("timestamp", ("vector",), "vector", _timestamp, by_step=True),
    Function("round", ("vector", "scalar"), "vector", _round, variadic=1),
    Function("clamp", ("vector", "scalar", "scalar"), "vector", _clamp),
    Function("clamp_min", ("vector", "scalar"), "vector", _clamp_min),
    Function("clamp_max", ("vector", "scalar"), "vector", _clamp_max),
)
