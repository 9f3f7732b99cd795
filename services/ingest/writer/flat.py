"""Estimates how large a body becomes when flattened: each item repeats what views unpack of its resource and scope. Pure."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from tael.model.signals import LOGS, TRACES
from tael.pb.envelope_pb2 import Envelope
from tael.wal import codec

FLAT_BYTES = 256 << 20
"""The limit of one insert: some materialized views unpack what the tables keep in dictionaries."""
_UNPACKED_BYTES = 64 << 10
"""The approximate part of a resource or scope that they unpack: a service's name, or the labels of a stream."""


def flat_bytes(signal: str, body: bytes, *, whole: bool = False) -> int:
    """The size of a body's items, each with the unpacked part of its resource and scope; items are not decoded.

    ``whole`` counts resource and scope in full, as releases did whose intents have a limit above ``FLAT_BYTES``: whoever repeats such an
    intent must cut as its writer did.
    """
    if signal not in {TRACES, LOGS}:
        return len(body)
    size, most = len(body), len(body) if whole else _UNPACKED_BYTES
    try:
        for record in codec.decode(body):
            for resourced in Envelope.FromString(record.request).resources:
                shared = min(len(resourced.resource), most)
                size += sum((shared + min(len(scoped.scope), most)) * len(scoped.items) for scoped in resourced.scopes)
    except DecodeError:  # the hot tier will refuse it, with a reason
        return len(body)
    return size
