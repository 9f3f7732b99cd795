"""Computes what a batch needs written besides the WAL's own bytes: increments become running totals."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import Protocol

from services.ingest.writer.deltas import Increments, Running, batch_id, encode_totals, read_increments
from tael.metrics.accumulate import add_histogram
from tael.model.signals import TOTALS
from tael.storage.api import TotalsReader
from tael.wal import codec
from tael.wal.api import Entry

LOOK_BACK_MS = 6 * 3_600_000
"""A series without a sample for so long starts again at zero, as after a restart of the counting process."""


class Preparation(Protocol):
    """Prepares the batches of one shard and signal, in the order of the WAL and once each, except after a Retryable."""

    async def prepare(self, entries: Sequence[Entry], batch: str) -> Sequence[Entry]:
        """The entries to write besides the given ones. ``batch`` is the unique name of these entries; whoever repeats them uses it again.

        MUST be safe to repeat: for a batch that was written before, wholly or in part and by any writer, the result MUST NOT change what is
        stored. Raises Retryable when something it needs cannot be reached; nothing has changed then.
        """
        ...


class DeltaPreparation:
    """Keeps the running totals of a shard's delta series, and reads those that are not cached from the hot tier."""

    def __init__(self, reader: TotalsReader, max_series: int) -> None:
        self._reader = reader
        self._samples: Running[float] = Running(max_series, add)
        self._histograms = Running(max_series, add_histogram)

    async def prepare(self, entries: Sequence[Entry], batch: str) -> Sequence[Entry]:
        """See Preparation."""
        found = read_increments(entry.body for entry in entries)
        # Everything that can fail comes before the first addition: a retried preparation must not add the same increments twice.
        for increments in found:
            await self._look_up(increments)
        bodies, items, name = [], 0, batch_id(batch)
        for increments in found:
            samples = self._samples.add(increments.samples, name)
            histograms = self._histograms.add(increments.histograms, name)
            items += len(samples) + len(histograms)
            bodies.append(codec.encode(increments.tenant, increments.received_at_ns, encode_totals(samples, histograms)))
        return [Entry(entries[0].sequence, TOTALS, items, b"".join(bodies))] if items else []

    async def _look_up(self, increments: Increments) -> None:
        tenant = increments.tenant
        if unknown := self._samples.unknown(increments.samples):
            since_ms = increments.samples[0].time_ms - LOOK_BACK_MS
            self._samples.learn(await self._reader.last_samples(tenant, unknown, since_ms))
        if unknown := self._histograms.unknown(increments.histograms):
            since_ms = increments.histograms[0].time_ms - LOOK_BACK_MS
            self._histograms.learn(await self._reader.last_histograms(tenant, unknown, since_ms))
