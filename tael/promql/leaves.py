"""The leaves of an evaluation: the values of selectors and ranges at each step, from the fetched data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tael.errors import Rejected
from tael.model.series import Floats, Samples
from tael.promql.ast import Call, Expr, MatrixSelector, VectorSelector, walk
from tael.promql.fetched import Fetched
from tael.promql.functions import FUNCTIONS
from tael.promql.times import milliseconds, moved
from tael.vectors import selectors, vectors
from tael.vectors.annotations import Annotations
from tael.vectors.histograms import resets
from tael.vectors.ranges import call, extended
from tael.vectors.ranges.functions import RangeFunction
from tael.vectors.selectors import Ranges
from tael.vectors.values import Matrix, Steps, Vector

RequireRoom: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Leaves:
    """Reads ``fetched``; an instant selector finds samples up to ``lookback_ms`` old.

    ``require_room`` gets the number of values (series by steps) before they are computed, and raises where these are too many.
    """

    fetched: Fetched
    lookback_ms: int

    def selected(self, node: VectorSelector, steps: Steps, require_room: RequireRoom) -> Vector:
        """The value of an instant selector."""
        grid = self.grid(node, steps)
        if grid is not None:
            return grid
        samples, at = self.fetched.samples[node], moved(node, steps)
        require_room(len(samples.labels) * at.count)
        if not node.smoothed:
            newest, _ = selectors.instant(samples, at, self.lookback_ms)
            return vectors.repeated(newest, steps.count)
        # The value is interpolated between neighbouring samples: windows reach as far beyond the step as before it.
        ends = _later(at, self.lookback_ms)
        windows = selectors.ranges(samples, ends, steps.times_ms, 2 * self.lookback_ms)
        if windows.native is not None and windows.native.any():
            raise Rejected("smoothed and anchored modifiers do not work with native histograms")
        values, present = extended.smoothed_instant(windows.floats, self.lookback_ms)
        return vectors.repeated(Vector(windows.samples.labels, values, present), steps.count)

    def timed(self, node: VectorSelector, steps: Steps, require_room: RequireRoom) -> tuple[Vector, Floats]:
        """The value of an instant selector, and its samples' own times in milliseconds."""
        return self._timed(self.fetched.samples[node], moved(node, steps), steps, require_room)

    def infos(self, node: Call, steps: Steps, require_room: RequireRoom) -> tuple[Vector, Floats]:
        """The series that a call of ``info`` may take labels from, at the time of its first argument, and their samples' times in ms."""
        # As in Prometheus, info series are read at the time of the argument's first selector, its offset included.
        selector = next(iter(_selectors(node.args[0])), None)
        at = steps if selector is None else moved(selector, steps)
        return self._timed(self.fetched.info[node], at, steps, require_room)

    def _timed(self, samples: Samples, at: Steps, steps: Steps, require_room: RequireRoom) -> tuple[Vector, Floats]:
        require_room(len(samples.labels) * at.count)
        vector, positions = selectors.instant(samples, at, self.lookback_ms)
        times = selectors.times_of(samples, positions)
        return vectors.repeated(vector, steps.count), np.broadcast_to(times, (len(vector.labels), steps.count))

    def grid(self, node: VectorSelector | Call, steps: Steps) -> Vector | None:
        """The value of ``node`` where the shards evaluated it, else None."""
        grid = self.fetched.grids.get((node, steps))
        if grid is None:
            return None
        vector = selectors.of_grid(grid)
        function = FUNCTIONS[node.function].over if isinstance(node, Call) else None
        if function is not None and not function.keeps_name:
            vector = replace(vector, drop_name=np.ones(len(vector.labels), np.bool_))
        return vectors.repeated(vector, steps.count)

    def ranges(self, node: MatrixSelector, steps: Steps, require_room: RequireRoom) -> Ranges:
        """The windows of a range selector; a single step where ``@`` fixes the time."""
        samples, ends = self.fetched.samples[node.selector], moved(node.selector, steps)
        require_room(len(samples.labels) * ends.count)
        return selectors.ranges(samples, ends, steps.times_ms, milliseconds(node.range))

    def extended(
        self, function: RangeFunction, node: MatrixSelector, steps: Steps, notes: Annotations, require_room: RequireRoom
    ) -> Vector:
        """A function over an anchored or smoothed range. Raises Rejected where the function does not support the modifier."""
        smoothed = node.selector.smoothed
        check_modifiers(function.name, node)
        samples, ends = self.fetched.samples[node.selector], moved(node.selector, steps)
        require_room(len(samples.labels) * ends.count)
        wide = milliseconds(node.range) + self.lookback_ms * (2 if smoothed else 1)
        later = _later(ends, self.lookback_ms if smoothed else 0)
        windows = selectors.ranges(samples, later, steps.times_ms, wide)
        result = call.extended(function, windows, notes, node.pos.start, smoothed=smoothed, lookback_ms=self.lookback_ms)
        return vectors.repeated(result, steps.count)

    def matrix(self, node: MatrixSelector, steps: Steps) -> Matrix:
        """A range as an instant query's answer."""
        end_ms = moved(node.selector, steps).start_ms
        return Matrix(selectors.within(self.fetched.samples[node.selector], end_ms - milliseconds(node.range), end_ms))

    def hinting_resets(self, node: Expr) -> Leaves:
        """The same leaves with reset hints in the histograms below ``node``, so that sums of them can warn about conflicting resets."""
        samples = self.fetched.samples
        native = {of: own for of in _selectors(node) if (own := samples.get(of)) is not None and own.histogram is not None}
        if not native:
            return self
        hinted = {of: resets.hinted(own, resets=True) for of, own in native.items()}
        return replace(self, fetched=replace(self.fetched, samples={**samples, **hinted}))


def check_modifiers(function: str, node: MatrixSelector) -> None:
    """Raise Rejected where a range is anchored or smoothed and the function does not support that."""
    for word, used, allowed in (
        ("smoothed", node.selector.smoothed, extended.SMOOTHED),
        ("anchored", node.selector.anchored, extended.ANCHORED),
    ):
        if used and function not in allowed:
            raise Rejected(f"{word} modifier can only be used with: {', '.join(allowed)} - not with {function}")


def _selectors(node: Expr) -> list[VectorSelector]:
    return [below for below in walk(node) if isinstance(below, VectorSelector)]


def _later(steps: Steps, by_ms: int) -> Steps:
    return Steps(steps.start_ms + by_ms, steps.end_ms + by_ms, steps.step_ms)
