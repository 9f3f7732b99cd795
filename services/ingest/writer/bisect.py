"""Halves a refused body, so that one item that storage cannot take does not cost its neighbours. Pure.

A body is one or more joined ``WalBatch`` messages. The cuts depend only on the bytes, so whoever repeats a batch makes the same pieces,
and therefore the same deduplication tokens.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message

from tael.model.signals import METRICS, PAYLOADS, TOTALS
from tael.otlp.signals import STORED
from tael.pb.envelope_pb2 import Envelope
from tael.pb.wal_pb2 import WalBatch

_PARALLEL = {
    METRICS: (("series", "metric", "time_ms", "value"), ("histograms",), ("exemplars",), ("new_series",), ("families",)),
    TOTALS: (("series", "metric", "time_ms", "value", "batch"), ("histograms", "histogram_batch")),
    PAYLOADS: (("payloads",),),
}
"""The fields of a body without an envelope that are cut at the same place, in the order in which they are cut."""


def halve(signal: str, body: bytes) -> tuple[bytes, bytes] | None:
    """Two bodies that together hold the same items in the same order, or None for a single item.

    Records are cut first, then the items of a single record.
    """
    batch = WalBatch.FromString(body)
    # Records first: valid requests are then stored byte for byte, and only the refused one is decoded.
    if len(batch.records) > 1:
        middle = len(batch.records) // 2
        return (
            WalBatch(records=batch.records[:middle]).SerializeToString(),
            WalBatch(records=batch.records[middle:]).SerializeToString(),
        )
    if not batch.records:
        return None
    if signal in _PARALLEL:
        pieces = _cut_parallel(signal, STORED[signal].FromString(batch.records[0].request))
        return None if pieces is None else (_like(batch, pieces[0]), _like(batch, pieces[1]))
    envelope = Envelope.FromString(batch.records[0].request)
    count = count_items(envelope)
    if count < 2:
        return None
    left, right = _cut(envelope, count // 2)
    return _like(batch, left), _like(batch, right)


def normalise(signal: str, body: bytes) -> bytes:
    """The same body with each request re-encoded by protobuf, which tolerates more than the hot tier does: only the last member of a oneof
    remains, a number that is too wide is truncated to its type, and unknown fields and fields of the wrong type are dropped.

    A body that cannot be parsed is returned unchanged.
    """
    try:
        batch = WalBatch.FromString(body)
        for record in batch.records:
            request = STORED[signal].FromString(record.request)
            request.DiscardUnknownFields()
            record.request = request.SerializeToString()
    except DecodeError:
        return body
    return batch.SerializeToString()


def count_items(envelope: Envelope) -> int:
    """The spans, log records or metrics under an envelope."""
    return sum(len(scoped.items) for resourced in envelope.resources for scoped in resourced.scopes)


def _cut(envelope: Envelope, at: int) -> tuple[Envelope, Envelope]:
    halves = (Envelope(), Envelope())
    seen = 0
    for resourced in envelope.resources:
        for scoped in resourced.scopes:
            # The number of this scope's items before the cut: none, all, or some.
            split = min(max(at - seen, 0), len(scoped.items))
            for half, items in zip(halves, (scoped.items[:split], scoped.items[split:]), strict=True):
                # A scope whose items are all on one side goes to that side only: empty copies would multiply with each halving.
                if items:
                    target = half.resources.add(resource=resourced.resource, schema_url=resourced.schema_url)
                    target.scopes.add(scope=scoped.scope, items=items, schema_url=scoped.schema_url)
            seen += len(scoped.items)
    return halves


def _cut_parallel(signal: str, whole: Message) -> tuple[Message, Message] | None:
    """Cut the samples first, then the messages. Deltas are not cut here: they are written as totals (services.ingest.writer.deltas)."""
    counts = [len(getattr(whole, fields[0])) for fields in _PARALLEL[signal]]
    at, halves = sum(counts) // 2, (STORED[signal](), STORED[signal]())
    if not at:
        return None
    for count, fields in zip(counts, _PARALLEL[signal], strict=True):
        split = min(at, count)
        for field in fields:
            values = getattr(whole, field)
            getattr(halves[0], field).extend(values[:split])
            getattr(halves[1], field).extend(values[split:])
        at -= split
    return halves


def _like(batch: WalBatch, envelope: Message) -> bytes:
    record = batch.records[0]
    out = WalBatch()
    # Digest and item count are left out: resends were dropped before, and the hot tier reads neither.
    out.records.add(tenant=record.tenant, received_at=record.received_at, request=envelope.SerializeToString())
    return out.SerializeToString()
