"""Keeps the gauges of shards that a process holds, and removes those of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import Gauge

from services.compactor import cold, erase, retire, roll, setbacks

GAUGES: Final = (*cold.GAUGES, *erase.GAUGES, *retire.GAUGES, *roll.GAUGES, *setbacks.GAUGES)
"""Every gauge of a shard but the epoch's, which app.py shows anew each time."""


class ShardGauges:
    """Gauges with a label ``shard``. Whoever works on a shard sets them; here they are removed once the shard's lease is gone.

    Otherwise the last value would stay until the process ends: an alert on it would never end, and a sum over processes would count it twice.
    """

    def __init__(self, gauges: Sequence[Gauge] = GAUGES) -> None:
        self._gauges = gauges
        self._epochs: dict[int, int] = {}

    def keep(self, held: Mapping[int, int]) -> None:
        """Remove the gauges of every shard that is not held, or is held under another epoch than at the last call; ``held`` has epochs by shard."""
        for shard, epoch in self._epochs.items():
            # At every call while the shard is away, because work that began under the lease may still end and set a gauge again.
            if held.get(shard) != epoch:
                for gauge in self._gauges:
                    gauge.remove_by_labels({"shard": str(shard)})
        self._epochs |= held
