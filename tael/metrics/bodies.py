"""A translation as the bodies of proto/metrics.proto that the log takes: by shard, none over a size, pure.

A body's samples depend on the request alone; which series it announces depends on what is known, so announcements are apart: a body's identity,
by which a resend is recognised, is that of its samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from tael.metrics.identity import metric_id
from tael.metrics.translation import Columns, Translation
from tael.pb.metrics_pb2 import Deltas, Exemplar, Histogram, MetricBatch, Series

M = TypeVar("M", Histogram, Exemplar, Series)
_ROW_BYTES = 32
_FRAME_BYTES = 64


@dataclass(frozen=True, slots=True)
class Body:
    """One ``MetricBatch`` for one shard: ``samples`` holds its ``items`` samples, histograms and exemplars, ``series`` announces series and families."""

    shard: int
    items: int
    samples: bytes
    series: bytes


def bodies(translation: Translation, shards: int, max_bytes: int) -> list[Body]:
    """The bodies of a translation; each has at most ``max_bytes``, as long as no single message is near that."""
    return [body for shard in range(shards) for body in _of_shard(translation, shard, shards, max_bytes)]


def _of_shard(whole: Translation, shard: int, shards: int, max_bytes: int) -> list[Body]:
    samples, deltas = _columns_of(whole.samples, shard, shards), _columns_of(whole.deltas, shard, shards)
    batch = MetricBatch(histograms=_of(whole.histograms, shard, shards), exemplars=_of(whole.exemplars, shard, shards))
    counted = Deltas(histograms=_of(whole.delta_histograms, shard, shards))
    # Half of a body is for samples: announcements then fit beside them, and how samples are cut does not depend on that.
    room = max_bytes // 2
    packed = list(_packed(_pieces(samples, deltas, batch, counted, room), room))
    news = MetricBatch(
        new_series=_of(whole.new_series, shard, shards),
        families=[family for family in whole.families if metric_id(family.name) % shards == shard],
    )
    return list(_announce(shard, packed, _split(news, room), max_bytes))


def _columns_of(columns: Columns, shard: int, shards: int) -> Columns:
    # Below the bits of its job and its service a series' number has 52 of all labels, so one job's series spread over the shards.
    return columns if shards == 1 else columns.take(columns.series % shards == shard)


def _of(messages: Sequence[M], shard: int, shards: int) -> Sequence[M]:
    return messages if shards == 1 else [message for message in messages if message.series % shards == shard]


def _pieces(samples: Columns, deltas: Columns, batch: MetricBatch, counted: Deltas, room: int) -> Iterator[tuple[int, bytes]]:
    """Encoded fields of a batch with the count of their items, each smaller than ``room``."""
    # Four packed columns of eight bytes a row; the frames are for the tags and lengths of the columns, and of the message around deltas.
    rows = max(1, (room - 2 * _FRAME_BYTES) // _ROW_BYTES)
    for columns, wrap in ((samples, False), (deltas, True)):
        for start in range(0, len(columns), rows):
            part = columns.take(slice(start, start + rows))
            encoded = encode_columns(part)
            yield len(part), encode_field(7, encoded) if wrap else encoded
    for encoded in _split(batch, room):
        yield _count(MetricBatch.FromString(encoded)) if len(encoded) < batch.ByteSize() else _count(batch), encoded
    if counted.histograms:
        whole = MetricBatch(deltas=counted)
        if whole.ByteSize() <= room:
            yield len(counted.histograms), whole.SerializeToString()
        else:
            for histogram in counted.histograms:
                yield 1, MetricBatch(deltas=Deltas(histograms=[histogram])).SerializeToString()


def _count(batch: MetricBatch) -> int:
    return len(batch.histograms) + len(batch.exemplars)


def _split(batch: MetricBatch, room: int) -> list[bytes]:
    """A batch of messages whole, or each message by itself when they do not fit."""
    if batch.ByteSize() <= room:
        return [batch.SerializeToString()] if batch.ByteSize() else []
    return [
        encode_field(field.number, message.SerializeToString()) for field, messages in batch.ListFields() for message in _each(messages)
    ]


def _each(messages: Iterable[Message]) -> Iterable[Message]:
    return messages


def _packed(pieces: Iterable[tuple[int, bytes]], room: int) -> Iterator[tuple[int, bytes]]:
    """Pieces joined while they fit."""
    items, joined, size = 0, list[bytes](), 0
    for count, piece in pieces:
        if joined and size + len(piece) > room:
            yield items, b"".join(joined)
            items, joined, size = 0, [], 0
        items, size = items + count, size + len(piece)
        joined.append(piece)
    if joined:
        yield items, b"".join(joined)


def _announce(shard: int, packed: list[tuple[int, bytes]], news: list[bytes], max_bytes: int) -> Iterator[Body]:
    """Bodies of samples with as many announcements as fit; those that are left go in bodies of their own."""
    for items, data in packed:
        announced, size = list[bytes](), len(data)
        # Announcements are no part of a body's identity, so it does not matter which body has room for them.
        while news and size + len(news[-1]) <= max_bytes:
            announced.append(news.pop())
            size += len(announced[-1])
        yield Body(shard, items, data, b"".join(announced))
    for _, rest in _packed(((0, piece) for piece in news), max_bytes):
        yield Body(shard, 0, b"", rest)


def encode_columns(columns: Columns) -> bytes:
    """Columns as fields 1 to 4 of ``MetricBatch`` or ``Deltas``."""
    # Packed fixed-width fields are little-endian, as the arrays are in memory on every machine that this runs on.
    arrays = (columns.metric, columns.series, columns.time_ms, columns.value)
    return b"".join(encode_field(number, array.tobytes()) for number, array in enumerate(arrays, 1) if len(array))


def encode_field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, prefix = len(content), bytearray((number << 3 | 2,))
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + content
