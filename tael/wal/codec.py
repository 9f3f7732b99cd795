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


def tenant_of(body: bytes) -> str:
    """The tenant of a body that ``encode`` made, without decoding it. Raises ValueError for bytes that it did not make."""
    _, at = _read_varint(body, 1)
    length, start = _read_varint(body, at + 1)
    if body[:1] != b"\x0a" or body[at : at + 1] != b"\x0a" or start + length > len(body):
        raise ValueError("not a WalBatch of one record")
    return body[start : start + length].decode()


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that starts at ``at``, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("not a varint")
