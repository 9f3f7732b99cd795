"""Encodes payloads as bodies of the WAL: small ones share a record, and one that is larger than a piece is cut. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tael.model.signals import PAYLOADS
from tael.pb.payloads_pb2 import PayloadBatch
from tael.wal import codec

PIECE_BYTES: Final = 4 << 20
_FRAME_BYTES: Final = 128
_LONGEST_WORD_BYTES: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """A payload's content that must be stored in one hour."""

    hour: int
    sha256: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """One append: see WalAppender."""

    body: bytes
    items: int
    dedup_id: str


def bodies(tenant: str, wal: int, wanted: Iterable[Wanted], received_at_ns: int, max_body_bytes: int) -> Iterator[Body]:
    """Bodies of the signal ``payloads`` for one WAL that hold all of ``wanted``. The same contents yield the same digests when they are
    resent.
    """
    for batch in encode_payloads(wanted, max_body_bytes - codec.overhead_bytes(tenant)):
        request, items = batch.SerializeToString(), len(batch.payloads)
        digest = hashlib.sha256(f"{tenant}\0{PAYLOADS}\0{wal}\0".encode())
        digest.update(request)
        identity = digest.digest()[: codec.DIGEST_BYTES]
        yield Body(codec.encode(tenant, received_at_ns, request, digest=identity, items=items), items, identity.hex())


def encode_payloads(wanted: Iterable[Wanted], max_bytes: int) -> Iterator[PayloadBatch]:
    """Batches of at most ``max_bytes`` encoded bytes that hold all of ``wanted``, in order. The cuts depend only on the arguments."""
    most = min(PIECE_BYTES, max_bytes - _FRAME_BYTES)
    batch, size = PayloadBatch(), 0
    for one in wanted:
        for offset, piece in pieces(one.content, most):
            if size and size + len(piece) + _FRAME_BYTES > most + _FRAME_BYTES:
                yield batch
                batch, size = PayloadBatch(), 0
            batch.payloads.add(hour=one.hour, sha256=one.sha256, size=len(one.content), offset=offset, content=piece)
            size += len(piece) + _FRAME_BYTES
    if size:
        yield batch


def pieces(content: bytes, most: int) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of pieces of at most ``most`` bytes, cut after a space if possible, so that a search for a word finds it in one
    piece.
    """
    at = 0
    while len(content) - at > most:
        end = at + most
        # rfind returns -1 without a space, which the addition turns into 0: a word longer than a kilobyte is cut at the end of the piece.
        end = content.rfind(b" ", max(at, end - _LONGEST_WORD_BYTES), end) + 1 or end
        yield at, content[at:end]
        at = end
    yield at, content[at:]


def joined(offset_pieces: Iterable[tuple[int, bytes]], size_bytes: int) -> bytes | None:
    """The content made of these pieces, which may be unordered, repeated or overlapping; None if one is missing."""
    parts: list[bytes] = []
    held = 0
    for offset, piece in sorted(offset_pieces):
        if offset > held:
            return None
        # Receivers with other limits cut elsewhere, so pieces may overlap: skip the bytes that are held already,
        # which may be the whole piece.
        fresh = piece[held - offset :]
        parts.append(fresh)
        held += len(fresh)
    return b"".join(parts) if held == size_bytes else None
