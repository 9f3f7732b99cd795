"""Writes one intent to the hot tier: a few inserts at a time, each retried until it succeeds, and halved when it is refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from tael.wal.api import DeadLetter, Entry

log = get_logger("writer")


@dataclass(frozen=True, slots=True)
class _Piece:
    """One insert: ``body`` under ``token`` into the landing tables of edition ``landing``; ``sequence`` is that of its first entry."""

    signal: str
    body: bytes
    token: str
    sequence: int
    landing: int

    def part(self, body: bytes, suffix: str) -> _Piece:
        """A piece derived from this one. Its token encodes how, so that a repeated intent makes the same pieces, whose stored parts are
        dropped.
        """
        return replace(self, body=body, token=f"{self.token}:{suffix}")

    def halves(self) -> tuple[_Piece, _Piece] | None:
        """The two halves, or None for a single item."""
        halves = halve(self.signal, self.body)
        return None if halves is None else (self.part(halves[0], "l"), self.part(halves[1], "r"))


class Inserter:
    """Writes the entries of one shard. Every method raises Stopped when the process drains before the write succeeds."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def write(self, entries: Sequence[Entry], lease: Lease, stop: Stop) -> None:
        """Write the range of the intent in ``lease``: an insert for each signal and cut, plus those that preparations add."""
        assert lease.intent is not None
        # A failpoint for fault tests: the intent is stored, and nothing is written yet.
        self._parts.fail("before_insert")
        prefix = f"{self._parts.name}.{lease.generation}"
        batch = f"{prefix}:{lease.intent.first}-{lease.intent.last}"
        # Prepare before anything is written: what a preparation reads from the hot tier must not include this batch yet.
        inserts = inserts_of(entries, lease.intent, prefix) + await self._prepared(entries, prefix, batch, stop)
        most, landing = lease.intent.flat_bytes, lease.intent.landing
        turns = asyncio.Semaphore(self._parts.inserts_at_once)

        async def write(insert: Insert) -> None:
            async with turns:
                await self._write(insert, most, landing, stop)

        # The groups are written in order: an item must not be readable before the payloads it refers to.
        for group in in_turns(inserts):
            await together((write(insert) for insert in group), name="insert")
        self._parts.fail("after_insert")

    async def _prepared(self, entries: Sequence[Entry], prefix: str, batch: str, stop: Stop) -> list[Insert]:
        """The inserts that must be written in addition to those of the entries."""
        inserts: list[Insert] = []
        for signal, preparation in self._parts.preparations.items():
            group = [entry for entry in entries if entry.signal == signal]
            made = await self._parts.until_done("preparing a batch", partial(preparation.prepare, group, batch), stop)
            inserts += [prepared_insert(entry, prefix) for entry in made]
        return inserts

    async def _write(self, insert: Insert, most: int, landing: int, stop: Stop) -> None:
        items = sum(entry.items for entry in insert.entries)
        body = b"".join(entry.body for entry in insert.entries)
        # Several entries share an insert only if their flattened size together is below the limit, so nothing more is to be cut.
        most = most if len(insert.entries) == 1 else 0
        await self._write_within(_Piece(insert.signal, body, insert.token, insert.entries[0].sequence, landing), most, stop)
        self._parts.fail("between_tables")
        metrics, shard = self._parts.metrics, self._parts.name
        metrics.batches.labels(shard, insert.signal).inc()
        metrics.items.labels(shard, insert.signal).inc(items)
        metrics.batch_items.labels(insert.signal).observe(items)
        metrics.batch_bytes.labels(insert.signal).observe(len(body))

    async def _write_within(self, piece: _Piece, most: int, stop: Stop) -> None:
        """Write a piece in parts of at most ``most`` flattened bytes (0: uncut); a single item is written however large it is."""
        too_large = most and flat_bytes(piece.signal, piece.body, whole=most > FLAT_BYTES) > most
        halves = piece.halves() if too_large else None
        if halves is None:
            await self._write_piece(piece, stop)
            return
        for half in halves:
            await self._write_within(half, most, stop)

    async def _write_piece(self, piece: _Piece, stop: Stop) -> None:
        """Write a piece, halving it as long as the hot tier refuses it; a single refused item becomes a dead letter."""
        try:
            await self._until_written(piece, stop)
        except StoredInPart as refused:
            await self._write_rest(piece, refused, stop)
            return
        except Rejected as refused:
            reason, fresh = str(refused), piece.body if isinstance(refused, TooLarge) else normalise(piece.signal, piece.body)
        else:
            return
        # The rewritten body needs its own token: parts of the refused body may be stored under the old one, which would drop them here.
        if fresh != piece.body:
            await self._write_piece(piece.part(fresh, "n"), stop)
        elif (halves := piece.halves()) is not None:
            for half in halves:
                await self._write_piece(half, stop)
        else:
            # The letter is durable before the intent is committed: whatever crashes, an item ends up in the hot tier or in a letter.
            await self._bury(DeadLetter(self._parts.shard, piece.sequence, piece.signal, 1, reason, piece.body), piece.token, stop)

    async def _write_rest(self, piece: _Piece, refused: StoredInPart, stop: Stop) -> None:
        """Write the missing items of a partly stored insert. Views that had not run for the stored items stay incomplete: only the whole
        insert would complete them.
        """
        metrics, shard = self._parts.metrics, self._parts.name
        log.error(
            "an insert was stored in part and does not fit in memory; writing its missing items on their own",
            shard=shard,
            token=piece.token,
            reason=str(refused),
        )
        metrics.incomplete.labels(shard, piece.signal).inc()
        # A repeat finds more items stored, and fewer left: so the token is derived from the remaining bytes, not from the position.
        if refused.rest:
            await self._write_piece(piece.part(refused.rest, f"r{hashlib.sha256(refused.rest).hexdigest()[:16]}"), stop)

    async def _until_written(self, piece: _Piece, stop: Stop) -> None:
        async def insert() -> None:
            with self._parts.metrics.insert_seconds.labels(piece.signal).time():
                await self._parts.storage.write(piece.signal, piece.body, piece.token, piece.landing)

        await self._parts.until_done("an insert", insert, stop)

    async def _bury(self, letter: DeadLetter, token: str, stop: Stop) -> None:
        log.error("dead letter", shard=letter.shard, sequence=letter.sequence, signal=letter.signal, token=token, reason=letter.reason)
        await self._parts.until_done("storing a dead letter", partial(self._parts.wal.bury, letter), stop)
        self._parts.metrics.dead_letters.labels(str(letter.shard), letter.signal).inc()
