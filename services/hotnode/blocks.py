"""ClickHouse's compressed blocks (``compress=1``, ``decompress=1``): LZ4 or nothing, with a CityHash128 over each.

16 bytes  checksum of the rest        1 byte   method: 0x82 LZ4, 0x90 ZSTD, 0x02 none
 4 bytes  size of the rest (LE)       4 bytes  size of the plain bytes (LE)        n bytes  payload
"""

from __future__ import annotations

import struct
from typing import Final

import lz4.block
import zstandard

from services.hotnode.cityhash import cityhash128
from services.hotnode.errors import CANNOT_DECOMPRESS, CHECKSUM_DOESNT_MATCH, failed

_HEADER: Final = struct.Struct("<BII")
_CHECKSUM_BYTES: Final = 16
_BLOCK_BYTES: Final = 1 << 20
_LARGEST_BYTES: Final = 1 << 30
_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02


class BlockDecoder:
    """Blocks in, plain bytes out, every checksum looked at."""

    def __init__(self) -> None:
        self._held = bytearray()

    def decode(self, piece: bytes) -> bytes:
        """The plain bytes of the blocks that this piece completes."""
        self._held += piece
        out: list[bytes] = []
        while len(self._held) >= _CHECKSUM_BYTES + _HEADER.size:
            method, size, plain_size = _HEADER.unpack_from(self._held, _CHECKSUM_BYTES)
            if size < _HEADER.size or max(size, plain_size) > _LARGEST_BYTES:
                raise failed(CANNOT_DECOMPRESS, "Cannot decompress the request: a block's size is impossible")
            end = _CHECKSUM_BYTES + size
            if len(self._held) < end:
                break
            block = bytes(self._held[:end])
            del self._held[:end]
            out.append(_open(block, method, plain_size))
        return b"".join(out)

    def finish(self) -> bytes:
        """Nothing may be left."""
        if self._held:
            raise failed(CANNOT_DECOMPRESS, "Cannot decompress the request: the last block was cut")
        return b""


def _open(block: bytes, method: int, plain_size: int) -> bytes:
    body = block[_CHECKSUM_BYTES:]
    if cityhash128(body) != block[:_CHECKSUM_BYTES]:
        raise failed(CHECKSUM_DOESNT_MATCH, "Checksum doesn't match: corrupted data in the request")
    payload = body[_HEADER.size :]
    plain: bytes = payload
    try:
        if method == _LZ4:
            plain = lz4.block.decompress(payload, uncompressed_size=plain_size)
        elif method == _ZSTD:
            plain = zstandard.ZstdDecompressor().decompress(payload, max_output_size=plain_size)
        elif method != _NONE:
            raise failed(CANNOT_DECOMPRESS, f"Cannot decompress the request: unknown method 0x{method:02x}")
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise failed(CANNOT_DECOMPRESS, f"Cannot decompress the request: {error}") from error
    return plain


class BlockEncoder:
    """Plain bytes in, LZ4 blocks of up to a mebibyte out."""

    def encode(self, piece: bytes) -> bytes:
        """The piece as whole blocks."""
        return b"".join(_close(piece[at : at + _BLOCK_BYTES]) for at in range(0, len(piece), _BLOCK_BYTES))

    def finish(self) -> bytes:
        """Blocks need no end."""
        return b""


def _close(plain: bytes) -> bytes:
    payload: bytes = lz4.block.compress(plain, store_size=False)
    body = _HEADER.pack(_LZ4, _HEADER.size + len(payload), len(plain)) + payload
    return cityhash128(body) + body
