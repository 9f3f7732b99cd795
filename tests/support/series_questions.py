"""Short forms of selections, grids and samples, for tests of readers of series."""

from __future__ import annotations

import numpy as np

from tael.model.series import (
    STALE_BITS,
    Grid,
    GridFunction,
    GridRequest,
    Matcher,
    MatchOp,
    Samples,
    Selection,
)
from tael.storage.api import Answer
from tael.vectors.histograms.text import expressions
from tests.support.series import SeriesStore

T0 = 1_790_002_800_000
"""The start of an hour."""
MINUTE, HOUR = 60_000, 3_600_000
EVER = (0, T0 + 24 * HOUR)
MANY = 1_000_000


def matchers(*texts: str) -> tuple[Matcher, ...]:
    """``job=~a|b`` as a matcher."""
    found = []
    for text in texts:
        at = next(index for index, char in enumerate(text) if char in "=!")
        op: MatchOp = text[at : at + 2] if text[at : at + 2] in ("=~", "!=", "!~") else "="  # type: ignore[assignment]  # one of them
        found.append(Matcher(text[:at], op, text[at + len(op) :]))
    return tuple(found)


def named(name: str, start: int = EVER[0], end: int = EVER[1]) -> Selection:
    return Selection(matchers(f"__name__={name}"), start, end)


def shown(samples: Samples) -> dict[str, list[tuple[int, object]]]:
    """Samples by series, relative to T0; stale markers and histograms as text."""
    result = {}
    texts = [] if samples.histograms is None else expressions(samples.histograms)
    bits = samples.values.view(np.uint64)
    for row, labels in enumerate(samples.labels):
        found: list[tuple[int, object]] = []
        for at in range(samples.offsets[row], samples.offsets[row + 1]):
            value: object = "stale" if bits[at] == STALE_BITS else float(samples.values[at])
            if samples.histogram is not None and samples.histogram[at] >= 0:
                value = texts[samples.histogram[at]]
            found.append((int(samples.times_ms[at]) - T0, value))
        result[",".join("=".join(pair) for pair in labels)] = found
    return result


async def select(store: SeriesStore, *texts: str, start: int = EVER[0], end: int = EVER[1]) -> dict[str, list[tuple[int, object]]]:
    await store.flush()
    return shown((await store.reader.select("t1", Selection(matchers(*texts), start, end), MANY)).value)


def request(function: GridFunction, name: str, start: int, *, steps: int = 1, step: int = MINUTE, window: int = 5 * MINUTE) -> GridRequest:
    return GridRequest(matchers(f"__name__={name}"), function, start, start + (steps - 1) * step, step if steps > 1 else 0, window)


async def grid_of(store: SeriesStore, function: GridFunction, name: str, start: int, *, steps: int = 1) -> Grid | None:
    await store.flush()
    answer: Answer[Grid] | None = await store.reader.grid("t1", request(function, name, start, steps=steps), MANY)
    return None if answer is None else answer.value
