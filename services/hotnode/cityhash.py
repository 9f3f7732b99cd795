"""CityHash128 of release 1.0.2, the checksum of ClickHouse's compressed blocks (later releases give other values).

Source: the algorithm published by Pike and Alakuijala as google/cityhash 1.0.2. In pure Python it does some 10 MB/s, which is enough
for a way in that no part of the suite uses.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

_M: Final = (1 << 64) - 1
_K0: Final = 0xC3A5C85C97CB3127
_K1: Final = 0xB492B66FBE98F273
_K2: Final = 0x9AE16A3B2F90404F
_K3: Final = 0xC949D7C7509E6557
_MULTIPLIER: Final = 0x9DDFEA08EB382D69
_UINT64: Final = struct.Struct("<Q")
_UINT32: Final = struct.Struct("<I")
_EIGHT: Final = struct.Struct("<8Q")
Pair: TypeAlias = tuple[int, int]


def cityhash128(text: bytes) -> bytes:
    """The checksum as it stands on the wire: low word first, both little-endian."""
    size = len(text)
    if size >= 16:
        low, high = _seeded(text[16:], _word(text, 0) ^ _K3, _word(text, 8))
    elif size >= 8:
        low, high = _seeded(b"", _word(text, 0) ^ (size * _K0 & _M), _word(text, size - 8) ^ _K1)
    else:
        low, high = _seeded(text, _K0, _K1)
    return struct.pack("<QQ", low, high)


def _word(text: bytes, at: int) -> int:
    word: int = _UINT64.unpack_from(text, at)[0]
    return word


def _rotate(value: int, by: int) -> int:
    return (value >> by | value << (64 - by)) & _M


def _shift_mix(value: int) -> int:
    return value ^ value >> 47


def _mix(low: int, high: int) -> int:
    first = _shift_mix((low ^ high) * _MULTIPLIER & _M)
    return _shift_mix((high ^ first) * _MULTIPLIER & _M) * _MULTIPLIER & _M


def _short(text: bytes) -> int:
    """The hash of at most 16 bytes."""
    size = len(text)
    if size > 8:
        last = _word(text, size - 8)
        return _mix(_word(text, 0), _rotate(last + size & _M, size)) ^ last
    if size >= 4:
        first: int = _UINT32.unpack_from(text, 0)[0]
        last4: int = _UINT32.unpack_from(text, size - 4)[0]
        return _mix(size + (first << 3), last4)
    if size:
        low = text[0] + (text[size >> 1] << 8)
        high = size + (text[-1] << 2)
        return _shift_mix((low * _K2 ^ high * _K3) & _M) * _K2 & _M
    return _K2


def _weak(words: tuple[int, ...], a: int, b: int) -> Pair:
    """A quick hash of four words."""
    w, x, y, z = words
    a += w
    total = a + x + y & _M
    b = _rotate(b + a + z & _M, 21) + _rotate(total, 44)
    return total + z & _M, b + a & _M


def _murmur(text: bytes, a: int, b: int) -> Pair:
    size = len(text)
    if size <= 16:
        a = _shift_mix(a * _K1 & _M) * _K1 & _M
        c = b * _K1 + _short(text) & _M
        d = _shift_mix(a + (_word(text, 0) if size >= 8 else c) & _M)
    else:
        c = _mix(_word(text, size - 8) + _K1 & _M, a)
        d = _mix(b + size & _M, c + _word(text, size - 16) & _M)
        a = a + d & _M
        for at in range(0, size - 16, 16):
            a = (a ^ _shift_mix(_word(text, at) * _K1 & _M) * _K1 & _M) * _K1 & _M
            b ^= a
            c = (c ^ _shift_mix(_word(text, at + 8) * _K1 & _M) * _K1 & _M) * _K1 & _M
            d ^= c
    a, b = _mix(a, c), _mix(d, b)
    return a ^ b, _mix(b, a)


def _seeded(text: bytes, x: int, y: int) -> Pair:
    size = len(text)
    if size < 128:
        return _murmur(text, x, y)
    z = size * _K1 & _M
    v0 = _rotate(y ^ _K1, 49) * _K1 + _word(text, 0) & _M
    v = (v0, _rotate(v0, 42) * _K1 + _word(text, 8) & _M)
    w = (_rotate(y + z & _M, 35) * _K1 + x & _M, _rotate(x + _word(text, 88) & _M, 53) * _K1 & _M)
    whole = size & ~127
    for words in _EIGHT.iter_unpack(memoryview(text)[:whole]):
        x = _rotate(x + y + v[0] + words[2] & _M, 37) * _K1 & _M ^ w[1]
        y = _rotate(y + v[1] + words[6] & _M, 42) * _K1 & _M ^ v[0]
        z = _rotate(z ^ w[0], 33)
        v = _weak(words[:4], v[1] * _K1, x + w[0])
        w = _weak(words[4:], z + w[1], y)
        x, z = z, x
    return _tail(text, whole, (x, y, z), v, w)


def _tail(text: bytes, whole: int, xyz: tuple[int, int, int], v: Pair, w: Pair) -> Pair:
    """The last 127 bytes at most, in pieces of 32 from the end, and the mixing of everything."""
    x, y, z = xyz
    w0, w1 = w
    y = y + _rotate(w0, 37) * _K0 + z & _M
    x = x + _rotate(v[0] + z & _M, 49) * _K0 & _M
    size = len(text)
    for done in range(32, size - whole + 32, 32):
        at = size - done
        y = _rotate(y - x & _M, 42) * _K0 + v[1] & _M
        w0 = w0 + _word(text, at + 16) & _M
        x = _rotate(x, 49) * _K0 + w0 & _M
        w0 = w0 + v[0] & _M
        v = _weak(struct.unpack_from("<4Q", text, at), v[0], v[1])
    x, y = _mix(x, v[0]), _mix(y, w0)
    return _mix(x + v[1] & _M, w1) + y & _M, _mix(x + w1 & _M, y + v[1] & _M)
