"""Returns freed memory that the allocator holds to the system, as the next large request may be hours away."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

_EVERY_SECONDS = 1.0
_M_MMAP_THRESHOLD = -3
_MAPPED_BYTES = 1 << 20
"""Larger blocks are mapped one by one and unmapped when they are freed. By default glibc raises this threshold to the size of the largest
freed block, after which each thread's arena keeps request-sized blocks (mallopt(3)).
"""


class Memory:
    """The process's memory. ``now`` returns monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._given_back_at = now()
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it; other allocators trim by themselves

    @property
    def is_due(self) -> bool:
        """Whether ``give_back`` has not been called for a while."""
        return self._trim is not None and self._now() - self._given_back_at >= _EVERY_SECONDS

    def give_back(self) -> None:
        """Return free memory to the system. It takes some milliseconds, so call it in a thread; the GIL is released meanwhile."""
        self._given_back_at = self._now()
        if self._trim is not None:
            self._trim(0)
