"""Encodes a translation as bodies of proto/metrics.proto for the WAL: by shard, none above a size. Pure.

A body's samples depend only on the request, whereas the series it announces depend on the receiver's cache. So the two are kept separate:
the identity by which a resent body is recognised is that of its samples.
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
    """One encoded ``MetricBatch`` for one shard, in two parts: ``samples`` has ``items`` samples, histograms and exemplars, ``series`` the
    announced series and families.
    """

    shard: int
    items: int
    samples: bytes
    series: bytes


def bodies(translation: Translation, shards: int, max_bytes: int) -> list[Body]:
    """The bodies of a translation, each of at most ``max_bytes`` unless a single message is about as large."""
    return [body for shard in range(shards) for body in _of_shard(translation, shard, shards, max_bytes)]


def _of_shard(whole: Translation, shard: int, shards: int, max_bytes: int) -> list[Body]:
    samples, deltas = _columns_of(whole.samples, shard, shards), _columns_of(whole.deltas, shard, shards)
    batch = MetricBatch(histograms=_of(whole.histograms, shard, shards), exemplars=_of(whole.exemplars, shard, shards))
    counted = Deltas(histograms=_of(whole.delta_histograms, shard, shards))
    # Samples get half of a body, so that announcements fit beside them and do not influence how the samples are cut.
    room = max_bytes // 2
    packed = list(_packed(_pieces(samples, deltas, batch, counted, room), room))
    news = MetricBatch(
        new_series=_of(whole.new_series, shard, shards),
        families=[family for family in whole.families if metric_id(family.name) % shards == shard],
    )
    return list(_announce(shard, packed, _split(news, room), max_bytes))


def _columns_of(columns: Columns, shard: int, shards: int) -> Columns:
    # Below the bits of job and service, a series id has 52 bits of all labels, so the series of one job are spread over the shards.
    return columns if shards == 1 else columns.take(columns.series % shards == shard)


def _of(messages: Sequence[M], shard: int, shards: int) -> Sequence[M]:
    return messages if shards == 1 else [message for message in messages if message.series % shards == shard]


def _pieces(samples: Columns, deltas: Columns, batch: MetricBatch, counted: Deltas, room: int) -> Iterator[tuple[int, bytes]]:
    """Encoded fields of a batch, each smaller than ``room``, with the number of their items."""
    # A row takes eight bytes in each of four packed columns; the frames are for tags and lengths of the columns and of the message around
    # deltas.
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
    """The encoded batch, or each of its messages separately if it does not fit."""
    if batch.ByteSize() <= room:
        return [batch.SerializeToString()] if batch.ByteSize() else []
    return [
        encode_field(field.number, message.SerializeToString()) for field, messages in batch.ListFields() for message in _each(messages)
    ]


def _each(messages: Iterable[Message]) -> Iterable[Message]:
    return messages


def _packed(pieces: Iterable[tuple[int, bytes]], room: int) -> Iterator[tuple[int, bytes]]:
    """Join consecutive pieces as long as they fit into ``room``."""
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
    """Bodies of samples with as many announcements as fit; the remaining announcements get bodies of their own."""
    for items, data in packed:
        announced, size = list[bytes](), len(data)
        # Announcements are not part of a body's identity, so they may go into any body with room for them.
        while news and size + len(news[-1]) <= max_bytes:
            announced.append(news.pop())
            size += len(announced[-1])
        yield Body(shard, items, data, b"".join(announced))
    for _, rest in _packed(((0, piece) for piece in news), max_bytes):
        yield Body(shard, 0, b"", rest)


def encode_columns(columns: Columns) -> bytes:
    """The columns, encoded as fields 1 to 4 of ``MetricBatch`` or ``Deltas``."""
    # Packed fixed-width fields are little-endian, as are the arrays in memory on every supported machine.
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
