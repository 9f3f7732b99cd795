"""Memory that was freed and that the allocator keeps: handed back to the system, for the next large request may be hours away."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

_EVERY_SECONDS = 1.0
_M_MMAP_THRESHOLD = -3
_MAPPED_BYTES = 1 << 20
"""Blocks of this size and more are mapped one by one and unmapped when they are freed. Left alone, glibc raises the bound to the largest block that
was freed, and each thread then keeps request-sized blocks for itself (mallopt(3)).
"""


class Memory:
    """The process' memory. ``now`` is monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._given_back_at = now()
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other allocators do it by themselves

    @property
    def is_due(self) -> bool:
        """Whether ``give_back`` has not been called for a while."""
        return self._trim is not None and self._now() - self._given_back_at >= _EVERY_SECONDS

    def give_back(self) -> None:
        """Hand back what is free. It takes some milliseconds, so it is for a thread; Python's lock is not held meanwhile."""
        self._given_back_at = self._now()
        if self._trim is not None:
            self._trim(0)
