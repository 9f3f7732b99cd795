"""The gauges of shards that the compactor shows."""

from __future__ import annotations

from typing import Final

from services.compactor import cold, erase, retire, roll, setbacks

GAUGES: Final = (*cold.GAUGES, *erase.GAUGES, *retire.GAUGES, *roll.GAUGES, *setbacks.GAUGES)
"""Every gauge of a shard but the epoch's, which app.py shows anew each time."""
