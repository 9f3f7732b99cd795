"""Decodes OTLP's number points in bulk: the common layout is recognised by its bytes and decoded as columns.

Concatenated protobuf messages are one message. So a point that consists of a head of fixed fields and a tail of bytes that were parsed
before is valid, and means both together:

    11 <start> 19 <time> 21 <double> | 31 <int>   tail: attributes      27 bytes of head
               19 <time> 21 <double> | 31 <int>   tail: attributes      18 bytes of head, no start time
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tael.metrics.cache import Ids
from tael.metrics.identity import HOUR_MS, MAX_TIME_MS
from tael.metrics.translation import Columns, columns
from tael.pb.metrics_request_pb2 import NumberPoint

_TIME, _DOUBLE, _INT, _START = 0x19, 0x21, 0x31, 0x11
_FIELDS = [("time_tag", "u1"), ("time", "<u8"), ("value_tag", "u1"), ("value", "<u8")]
_HEADS = {18: np.dtype(_FIELDS), 27: np.dtype([("start_tag", "u1"), ("start", "<u8"), *_FIELDS])}
NS_PER_MS = 1_000_000


def head_bytes(point: bytes) -> int:
    """The length of a point's head, if it has the common layout."""
    return 27 if point[:1] == b"\x11" else 18


def time_ms_of(point: bytes) -> int:
    """The time of a point in the common layout; a meaningless number for any other point."""
    # A head ends in 8 bytes of time, the value's tag, and 8 bytes of value.
    at = head_bytes(point) - 17
    return int.from_bytes(point[at : at + 8], "little") // NS_PER_MS


def tail_of(point: bytes) -> bytes | None:
    """The bytes after the head, if the point has the common layout and they contain only attributes; else None."""
    size = head_bytes(point)
    if len(point) < size or point[size - 18] != _TIME or point[size - 9] not in (_DOUBLE, _INT):
        return None
    tail = point[size:]
    parsed = NumberPoint.FromString(tail)
    # If re-encoding the attributes yields the same bytes, there is nothing else in the tail, not even unknown fields.
    attributes = NumberPoint(attributes=parsed.attributes)
    return tail if attributes.SerializeToString() == tail else None


@dataclass(slots=True)
class Heads:
    """Heads of one length, with the ids of each one's series."""

    heads: list[bytes] = field(default_factory=list)
    ids: list[Ids] = field(default_factory=list)

    def decode(self, size: int, hour: int) -> Columns | None:
        """The points as columns; None when one of them has another layout, or is not in the hour that starts at ``hour`` (ms)."""
        decoded = _decode(self.heads, size)
        if decoded is None:
            return None
        time_ms, value = decoded
        if len(time_ms) and not (hour <= time_ms.min() and time_ms.max() < min(hour + HOUR_MS, MAX_TIME_MS)):
            return None
        return columns(b"".join(self.ids), time_ms, value)


def _decode(heads: list[bytes], size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
    joined = b"".join(heads)
    if len(joined) != size * len(heads):
        return None
    rows = np.frombuffer(joined, _HEADS[size])
    is_double = rows["value_tag"] == _DOUBLE
    regular = (rows["time_tag"] == _TIME) & (is_double | (rows["value_tag"] == _INT))
    if size == 27:
        regular &= rows["start_tag"] == _START
    if not regular.all():
        return None
    bits = rows["value"].copy()
    if not is_double.all():
        # All rows are converted, and the results for doubles are discarded below: cheaper than selecting the integers first.
        integers = bits.view(np.int64).astype(np.float64).view(np.uint64)
        bits = np.where(is_double, bits, integers)
    return (rows["time"] // NS_PER_MS).astype(np.int64), bits.view(np.float64)
