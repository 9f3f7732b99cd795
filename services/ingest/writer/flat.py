"""How large a body becomes when it is flattened, where every item repeats what views unpack of its resource and its scope; pure."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from tael.model.signals import LOGS, TRACES
from tael.pb.envelope_pb2 import Envelope
from tael.wal import codec

FLAT_BYTES = 256 << 20
"""The most of one insert: some materialized views unpack what the tables keep in dictionaries."""
_UNPACKED_BYTES = 64 << 10
"""How much of what a resource or a scope says they unpack, about: a service's name, or the labels of a stream."""


def flat_bytes(signal: str, body: bytes, *, whole: bool = False) -> int:
    """The bytes of a body's items, each with what is unpacked of its resource and scope; items are not looked into.

    ``whole`` counts all of these, as the cuts of intents with a higher limit than ``FLAT_BYTES`` did: whoever repeats one must cut as its writer would.
    """
    if signal not in {TRACES, LOGS}:
        return len(body)
    size, most = len(body), len(body) if whole else _UNPACKED_BYTES
    try:
        for record in codec.decode(body):
            for resourced in Envelope.FromString(record.request).resources:
                shared = min(len(resourced.resource), most)
                size += sum((shared + min(len(scoped.scope), most)) * len(scoped.items) for scoped in resourced.scopes)
    except DecodeError:  # the hot tier refuses it, with a reason
        return len(body)
    return size
