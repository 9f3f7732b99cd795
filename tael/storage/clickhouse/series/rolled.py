"""Decides which steps of a grid are evaluated over rollups, and whether that is exact; pure (docs/adr/0022)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tael.model.series import ROLLUP_MS, GridRequest
from tael.vectors.ranges import rollups
from tael.vectors.ranges.rollups import COLUMNS, Places


def split(request: GridRequest, until_ms: int) -> tuple[GridRequest | None, GridRequest | None]:
    """The request split into the steps that are evaluated over rollups, which begin before ``until_ms``, and the rest; None for
    no steps.
    """
    step = request.step_ms or 1
    count = (request.end_ms - request.start_ms) // step + 1
    # Rounded up: a step whose window begins exactly at ``until_ms`` sees no rollup, because windows exclude their start.
    old = min(count, max(0, -(-(until_ms + request.window_ms - request.start_ms) // step)))
    if request.function not in COLUMNS or not until_ms or not old:
        return None, request
    last = request.start_ms + (old - 1) * step
    later = replace(request, start_ms=last + step) if old < count else None
    return replace(request, end_ms=last), later


def exact(request: GridRequest) -> bool:
    """Whether rollups give the same answer as raw samples: every window consists of whole buckets, and the function needs nothing inside a
    bucket.
    """
    return rollups.exact(request, (*COLUMNS, "last"))


def places_of(request: GridRequest) -> Places:
    """The windows of whole buckets that take the place of the request's windows."""
    times = np.arange(request.start_ms, request.end_ms + 1, request.step_ms or 1, dtype=np.int64)
    return rollups.places(times, request.window_ms, ROLLUP_MS)
