"""Gauges of shards: those of a shard are shown only by the process that holds the shard's lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import Gauge


class ShardGauges:
    """Gauges with a label ``shard``. Whoever works on a shard sets them; here they are removed once the shard's lease is gone.

    Otherwise the last value would stay until the process ends: an alert on it would never end, and a sum over processes would count it
    twice.
    """

    def __init__(self, gauges: Sequence[Gauge]) -> None:
        self._gauges = gauges
        self._epochs: dict[int, int] = {}

    def keep(self, held: Mapping[int, int]) -> None:
        """Remove the gauges of every shard that is not held, or is held under another epoch than at the last call; ``held`` has epochs by
        shard.
        """
        for shard, epoch in self._epochs.items():
            # At every call while the shard is away, because work that began under the lease may still end and set a gauge again.
            if held.get(shard) != epoch:
                self.remove(str(shard))
        self._epochs |= held

    def remove(self, shard: str) -> None:
        """Remove every series of a shard, whatever its other labels are."""
        for gauge in self._gauges:
            gauge.remove_by_labels({"shard": shard})
