"""Which partitions have outlived their retention, pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tael.model.time import NS_PER_SECOND
from tael.storage.api import PartitionSize

_HOUR_NS = 3600 * NS_PER_SECOND


def expired(partitions: Iterable[PartitionSize], *, retention_days: Mapping[str, float], now_ns: int) -> list[PartitionSize]:
    """Those that ended before the retention of their signal began, oldest first; one of which any part is still wanted stays whole."""
    horizons_ns = {signal: now_ns - int(days * 24 * _HOUR_NS) for signal, days in retention_days.items()}
    gone = (p for p in partitions if p.start_ns + p.hours * _HOUR_NS <= horizons_ns[p.signal])
    return sorted(gone, key=lambda p: (p.start_ns, p.table))
