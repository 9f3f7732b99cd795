"""Finds the markers in an encoded request that serves as a template, to be overwritten."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def places_of(body: bytes, mark: bytes) -> NDArray[np.int64]:
    """The positions of the bytes of each occurrence of ``mark`` in ``body``, one row for each."""
    starts, at = [], body.find(mark)
    while at >= 0:
        starts.append(at)
        at = body.find(mark, at + 1)
    return np.array(starts, np.int64).reshape(-1, 1) + np.arange(len(mark))
