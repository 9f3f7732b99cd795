"""The encoded sample at the end of most series of remote write; many are decoded together.

    12 10 09 <value, 8 bytes> 10 <ms, 6 bytes of varint>        18 bytes
    12 07 10 <ms, 6 bytes of varint>                             9 bytes, the value is 0

A varint of 6 bytes holds the milliseconds of the years 1971 to 2109. Concatenated protobuf messages are one message: bytes that were parsed
before, followed by a tail that is checked here, are a valid message and mean both together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tael.metrics.cache import Ids
from tael.metrics.identity import HOUR_MS, MAX_TIME_MS
from tael.metrics.translation import Draft, columns

LONG, SHORT = 18, 9
LONG_MARK = b"\x12\x10\x09"
_MARKS = {LONG: LONG_MARK, SHORT: b"\x12\x07"}
_LAYOUTS = {
    LONG: np.dtype([("mark", "S3"), ("value", "<f8"), ("time_tag", "u1"), ("time", "u1", 6)]),
    SHORT: np.dtype([("mark", "S2"), ("time_tag", "u1"), ("time", "u1", 6)]),
}
_SHIFTS = np.arange(0, 42, 7, dtype=np.int64)


def decode_tails(tails: list[bytes], size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
    """Times (ms) and values, or None when a tail has another layout."""
    joined = b"".join(tails)
    if len(joined) != size * len(tails):
        return None
    rows = np.frombuffer(joined, _LAYOUTS[size])
    digits = rows["time"]
    regular = (rows["mark"] == _MARKS[size]) & (rows["time_tag"] == 0x10) & (digits[:, :5] >= 0x80).all(axis=1) & (digits[:, 5] < 0x80)
    if not regular.all():
        return None
    time_ms = ((digits & 0x7F).astype(np.int64) << _SHIFTS).sum(axis=1)
    return time_ms, rows["value"].copy() if size == LONG else np.zeros(len(rows))


def hour_of(tail: bytes) -> int | None:
    """The start (ms) of a sample's hour; None when it has another layout."""
    if len(tail) not in _MARKS or not tail.startswith(_MARKS[len(tail)]) or tail[-7] != 0x10:
        return None
    # A varint of exactly six bytes: all but the last have the continuation bit.
    digits = tail[-6:]
    if digits[5] >= 0x80 or any(digit < 0x80 for digit in digits[:5]):
        return None
    time_ms = sum((digit & 0x7F) << 7 * at for at, digit in enumerate(digits))
    return time_ms // HOUR_MS * HOUR_MS


@dataclass(slots=True)
class Tails:
    """Tails of known series, by length, with the ids of each one's series."""

    tails: dict[int, list[bytes]] = field(default_factory=lambda: {LONG: [], SHORT: []})
    ids: dict[int, list[Ids]] = field(default_factory=lambda: {LONG: [], SHORT: []})

    def add(self, tail: bytes, ids: Ids) -> None:
        """Add one tail."""
        # By length, which distinguishes the two layouts.
        self.tails[len(tail)].append(tail)
        self.ids[len(tail)].append(ids)

    def finish(self, hour: int, draft: Draft) -> bool:
        """Add the samples to the draft; False when one has another layout or is outside the hour."""
        for size, tails in self.tails.items():
            if not tails:
                continue
            decoded = decode_tails(tails, size)
            if decoded is None:
                return False
            time_ms, value = decoded
            in_hour = hour <= time_ms.min() and time_ms.max() < min(hour + HOUR_MS, MAX_TIME_MS)
            if not (in_hour and draft.accepts.holds(time_ms)):
                return False
            draft.samples.chunks.append(columns(b"".join(self.ids[size]), time_ms, value))
            draft.items += len(time_ms)
        return True
