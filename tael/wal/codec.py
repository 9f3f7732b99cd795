"""Encodes a request and its envelope as a ``WalBatch`` of one record, copying the request only once.

The format is that of proto/wal.proto. It is written by hand because protobuf would copy the request twice on the hot path, and read by hand
where only the envelopes are needed. Concatenated bodies are one ``WalBatch``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from tael.pb.wal_pb2 import WalBatch, WalRecord

DIGEST_BYTES = 16
# A tag is the field number in proto/wal.proto times eight plus the wire type: one byte each, as no field number is above 15.
_RECORDS = 0x0A
_TENANT, _RECEIVED_AT, _REQUEST, _DIGEST, _ITEMS = 0x0A, 0x11, 0x1A, 0x22, 0x28


def encode(tenant: str, received_at_ns: int, request: bytes, *, digest: bytes = b"", items: int = 0) -> bytes:
    """A ``WalBatch`` with one record; ``request`` comes last, so that the other fields can be read without it."""
    name = tenant.encode()
    head = b"\x0a" + _varint(len(name)) + name + b"\x11" + received_at_ns.to_bytes(8, "little")
    if digest:
        head += b"\x22" + _varint(len(digest)) + digest
    if items:
        head += b"\x28" + _varint(items)
    head += b"\x1a" + _varint(len(request))
    return b"".join((b"\x0a", _varint(len(head) + len(request)), head, request))


def decode(body: bytes) -> list[WalRecord]:
    """The records of one body, or of several concatenated ones. Raises google.protobuf's DecodeError."""
    return list(WalBatch.FromString(body).records)


def overhead_bytes(tenant: str) -> int:
    """The maximum number of bytes that ``encode`` adds to a request of less than 256 MiB."""
    # 24 for the tags and lengths of record, tenant and request and the 9 bytes of the time; 2 for the digest's tag and length; 6 for the
    # items.
    return len(tenant.encode()) + 24 + 2 + DIGEST_BYTES + 6


@dataclass(frozen=True, slots=True)
class Envelope:
    """A record without its request: its tenant, the digest that identifies it, its number of items (0 if it is not given), and the range of
    its bytes in the body, tag included.
    """

    tenant: str
    digest: bytes
    items: int
    start: int
    end: int


def envelopes(body: bytes) -> Iterator[Envelope]:
    """The envelopes of a body made by ``encode``, or of several concatenated ones, without decoding requests. Raises ValueError for other
    bytes.
    """
    at = 0
    while at < len(body):
        start = at
        if body[at] != _RECORDS:
            raise ValueError("not a WalBatch")
        length, at = _read_varint(body, at + 1)
        end = at + length
        if end > len(body):
            raise ValueError("not a whole WalBatch")
        yield _envelope(body, start, at, end)
        at = end


def with_digests(body: bytes, name: str) -> bytes:
    """The same records with new digests, derived from ``name`` and each record's number. Raises DecodeError."""
    batch = WalBatch.FromString(body)
    for number, record in enumerate(batch.records):
        record.digest = hashlib.sha256(f"{name}:{number}".encode()).digest()[:DIGEST_BYTES]
    return batch.SerializeToString()


def _envelope(body: bytes, start: int, at: int, end: int) -> Envelope:
    tenant, digest, items = "", b"", 0
    # The request comes last: reading stops in front of it, however large it is.
    while at < end and body[at] != _REQUEST:
        tag = body[at]
        if tag == _RECEIVED_AT:
            at += 9
        elif tag == _ITEMS:
            items, at = _read_varint(body, at + 1)
        elif tag in {_TENANT, _DIGEST}:
            length, value = _read_varint(body, at + 1)
            at = value + length
            if tag == _TENANT:
                tenant = body[value:at].decode()
            else:
                digest = body[value:at]
        else:
            raise ValueError("not a record of the WAL")
    return Envelope(tenant, digest, items, start, end)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number encoded at ``at``, and the position after it."""
    number = 0
    # A 64-bit number takes ten bytes at most; the bound keeps damaged bytes from being read as an ever larger number.
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("not a varint")
