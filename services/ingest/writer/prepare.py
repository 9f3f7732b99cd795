"""What a batch of the log must be made into before it can be written, where the log's bytes are not enough: increments become totals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.ingest.writer.deltas import Increments, Totals, read_increments
from tael.storage.api import TotalsReader
from tael.wal import codec
from tael.wal.api import Entry

LOOK_BACK_MS = 6 * 3_600_000
"""A series without a sample for so long begins anew, at zero, as after a restart of what counts."""


class Preparation(Protocol):
    """A shard's, for one signal; its batches come in the order of the log and once each, but for a Retryable that it raised."""

    async def prepare(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """What is to be written besides the entries' own bodies. MUST be safe to repeat: for a batch that was written before, by whomever, it
        holds nothing that is not there. Raises Retryable when what it needs cannot be reached; nothing has changed then.
        """
        ...


class DeltaPreparation:
    """Keeps the running totals of a shard's delta series, and reads those that it does not know from the hot tier."""

    def __init__(self, reader: TotalsReader, max_series: int, count_dropped: Callable[[int], None]) -> None:
        self._reader = reader
        self._totals = Totals(max_series)
        self._count_dropped = count_dropped

    async def prepare(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """See Preparation."""
        found = read_increments(entry.body for entry in entries)
        for increments in found:
            await self._look_up(increments)
        bodies, items = [], 0
        for increments in found:
            batch, dropped = self._totals.add(increments)
            self._count_dropped(dropped)
            items += len(batch.series) + len(batch.histograms)
            bodies.append(codec.encode(increments.tenant, increments.received_at_ns, batch.SerializeToString()))
        return [Entry(entries[0].sequence, entries[0].signal, items, b"".join(bodies))] if items else []

    async def _look_up(self, increments: Increments) -> None:
        unknown = self._totals.unknown(increments)
        tenant = increments.tenant
        if unknown.samples:
            since_ms = increments.samples[0][0] - LOOK_BACK_MS
            self._totals.learn((await self._reader.last_samples(tenant, unknown.samples, since_ms)).items(), ())
        if unknown.histograms:
            since_ms = increments.histograms[0].time_ms - LOOK_BACK_MS
            self._totals.learn((), await self._reader.last_histograms(tenant, unknown.histograms, since_ms))
