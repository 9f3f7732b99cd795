"""Writing one intent to the hot tier: a few inserts at a time, each repeated until it succeeds, halved where it is refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial

from services.ingest.writer.bisect import halve, normalise
from services.ingest.writer.flat import FLAT_BYTES, flat_bytes
from services.ingest.writer.parts import Parts
from services.ingest.writer.plan import Insert, in_turns, inserts_of, prepared_insert
from tael.cluster.lease import Lease
from tael.errors import Rejected, StoredInPart, TooLarge
from tael.runtime.observe import get_logger
from tael.runtime.service import Stop
from tael.runtime.tasks import together
from tael.storage.api import LANDING
from tael.wal.api import DeadLetter, Entry

log = get_logger("writer")


class Inserter:
    """Writes the entries of one shard. Every method raises Stopped when the process drains before it could."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._landing = LANDING

    async def write(self, entries: Sequence[Entry], lease: Lease, stop: Stop) -> None:
        """Write the range that ``lease`` intends: an insert for each signal and cut, and what preparations add to them."""
        assert lease.intent is not None
        # Where a test ends the process: after the intent is stored and before anything is written.
        self._parts.fail("before_insert")
        prefix = f"{self._parts.name}.{lease.generation}"
        batch = f"{prefix}:{lease.intent.first}-{lease.intent.last}"
        # Prepared before anything is written: what a preparation reads from the hot tier must not hold this batch yet.
        inserts = inserts_of(entries, lease.intent, prefix) + await self._prepared(entries, prefix, batch, stop)
        most, self._landing = lease.intent.flat_bytes, lease.intent.landing
        turns = asyncio.Semaphore(self._parts.inserts_at_once)

        async def write(insert: Insert) -> None:
            async with turns:
                await self._write(insert, most, stop)

        # Groups one after the other: an item must not be readable before the payloads that it refers to.
        for group in in_turns(inserts):
            await together((write(insert) for insert in group), name="insert")
        self._parts.fail("after_insert")

    async def _prepared(self, entries: Sequence[Entry], prefix: str, batch: str, stop: Stop) -> list[Insert]:
        """What must be written besides the entries themselves."""
        inserts: list[Insert] = []
        for signal, preparation in self._parts.preparations.items():
            group = [entry for entry in entries if entry.signal == signal]
            made = await self._parts.until_done("preparing a batch", partial(preparation.prepare, group, batch), stop)
            inserts += [prepared_insert(entry, prefix) for entry in made]
        return inserts

    async def _write(self, insert: Insert, most: int, stop: Stop) -> None:
        items = sum(entry.items for entry in insert.entries)
        body = b"".join(entry.body for entry in insert.entries)
        # Entries share an insert only where they are not too large together.
        await self._write_within(
            insert.signal, body, insert.token, insert.entries[0].sequence, most if len(insert.entries) == 1 else 0, stop
        )
        self._parts.fail("between_tables")
        metrics, shard = self._parts.metrics, self._parts.name
        metrics.batches.labels(shard, insert.signal).inc()
        metrics.items.labels(shard, insert.signal).inc(items)
        metrics.batch_items.labels(insert.signal).observe(items)
        metrics.batch_bytes.labels(insert.signal).observe(len(body))

    async def _write_within(self, signal: str, body: bytes, token: str, sequence: int, most: int, stop: Stop) -> None:
        """Write one body in pieces of at most ``most`` bytes flattened, 0 for whole; one item is a piece however large it is."""
        halves = halve(signal, body) if most and flat_bytes(signal, body, whole=most > FLAT_BYTES) > most else None
        if halves is None:
            await self._write_body(signal, body, token, sequence, stop)
            return
        # A token names the bytes that the same halving makes of the same range, so that whoever repeats the intent finds what is stored.
        for side, half in zip("lr", halves, strict=True):
            await self._write_within(signal, half, f"{token}:{side}", sequence, most, stop)

    async def _write_body(self, signal: str, body: bytes, token: str, sequence: int, stop: Stop) -> None:
        """Write one body, in halves where the hot tier refuses it; what cannot be cut any further becomes a dead letter."""
        try:
            await self._until_written(signal, body, token, stop)
        except StoredInPart as refused:
            await self._write_rest(signal, refused, token, sequence, stop)
            return
        except Rejected as refused:
            reason, fresh = str(refused), body if isinstance(refused, TooLarge) else normalise(signal, body)
        else:
            return
        # Under a token of its own: pieces of the refused body may be stored, and the rewritten one must not be taken for it.
        if fresh != body:
            await self._write_body(signal, fresh, f"{token}:n", sequence, stop)
        elif (halves := halve(signal, body)) is not None:
            for side, half in zip("lr", halves, strict=True):
                await self._write_body(signal, half, f"{token}:{side}", sequence, stop)
        else:
            # Durable in its own stream before the intent is committed: an item is in the hot tier or in a letter, whatever dies.
            await self._bury(DeadLetter(self._parts.shard, sequence, signal, 1, reason, body), token, stop)

    async def _write_rest(self, signal: str, refused: StoredInPart, token: str, sequence: int, stop: Stop) -> None:
        """The items that are not there; what is counted from those that are may lack them, for only the whole insert would complete it."""
        metrics, shard = self._parts.metrics, self._parts.name
        log.error(
            "an insert is stored in part and does not fit; its other items are written alone", shard=shard, token=token, reason=str(refused)
        )
        metrics.incomplete.labels(shard, signal).inc()
        # Whoever repeats this finds more of them stored: the token is of what is left, not of the place.
        if refused.rest:
            await self._write_body(signal, refused.rest, f"{token}:r{hashlib.sha256(refused.rest).hexdigest()[:16]}", sequence, stop)

    async def _until_written(self, signal: str, body: bytes, token: str, stop: Stop) -> None:
        async def insert() -> None:
            with self._parts.metrics.insert_seconds.labels(signal).time():
                await self._parts.storage.write(signal, body, token, self._landing)

        await self._parts.until_done("an insert", insert, stop)

    async def _bury(self, letter: DeadLetter, token: str, stop: Stop) -> None:
        log.error("dead letter", shard=letter.shard, sequence=letter.sequence, signal=letter.signal, token=token, reason=letter.reason)
        await self._parts.until_done("storing a dead letter", partial(self._parts.wal.bury, letter), stop)
        self._parts.metrics.dead_letters.labels(str(letter.shard), letter.signal).inc()
