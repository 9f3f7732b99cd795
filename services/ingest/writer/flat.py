"""How large a body becomes when it is flattened, where every item repeats what its resource and its scope say; pure."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from tael.model.signals import LOGS, TRACES
from tael.pb.envelope_pb2 import Envelope
from tael.wal import codec

FLAT_BYTES = 512 << 20
"""The most of one insert: some materialized views unpack what the tables keep in dictionaries."""


def flat_bytes(signal: str, body: bytes) -> int:
    """The bytes of a body's items, each with its resource and scope; items are not looked into."""
    if signal not in {TRACES, LOGS}:
        return len(body)
    size = len(body)
    try:
        for record in codec.decode(body):
            for resourced in Envelope.FromString(record.request).resources:
                shared = len(resourced.resource)
                size += sum((shared + len(scoped.scope)) * len(scoped.items) for scoped in resourced.scopes)
    except DecodeError:  # the hot tier refuses it, with a reason
        return len(body)
    return size
