"""One request and its envelope as a ``WalBatch`` of one record, without copying the request more than once.

The bytes are those of proto/wal.proto; they are put together by hand because a protobuf message would copy the request twice on the
hot path. Bodies concatenate: joined, they are one ``WalBatch``.
"""

from __future__ import annotations

from tael.pb.wal_pb2 import WalBatch, WalRecord


def encode(tenant: str, received_at_ns: int, request: bytes) -> bytes:
    """A ``WalBatch`` that holds one record."""
    name = tenant.encode()
    head = b"\x0a" + _varint(len(name)) + name + b"\x11" + received_at_ns.to_bytes(8, "little") + b"\x1a" + _varint(len(request))
    return b"".join((b"\x0a", _varint(len(head) + len(request)), head, request))


def decode(body: bytes) -> list[WalRecord]:
    """The records of one body, or of several joined. Raises google.protobuf's DecodeError."""
    return list(WalBatch.FromString(body).records)


def overhead_bytes(tenant: str) -> int:
    """The most that ``encode`` adds to a request of less than 256 MiB."""
    return len(tenant.encode()) + 24


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
