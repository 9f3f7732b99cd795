"""Which partitions have outlived their retention, pure."""

from __future__ import annotations

from collections.abc import Iterable

from tael.model.time import NS_PER_SECOND
from tael.storage.api import PartitionSize

_HOUR_NS = 3600 * NS_PER_SECOND


def expired(partitions: Iterable[PartitionSize], *, retention_days: float, now_ns: int) -> list[PartitionSize]:
    """The hours that ended before the retention began, oldest first; an hour of which any part is still wanted stays whole."""
    horizon_ns = now_ns - int(retention_days * 24 * _HOUR_NS)
    return sorted((p for p in partitions if p.start_ns + _HOUR_NS <= horizon_ns), key=lambda p: (p.start_ns, p.table))
