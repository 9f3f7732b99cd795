"""The attribute keys of a request's spans or log records and of their resources. Pure."""

from __future__ import annotations

from itertools import islice

from google.protobuf.message import Message
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tael.pb.envelope_pb2 import Envelope


def attribute_keys(request: bytes, item: type[Message], max_items: int) -> set[str]:
    """The keys of the first ``max_items`` items (of class ``item``) and of all resources. ``request`` MUST be valid."""
    envelope = Envelope.FromString(request)
    owners: list[Message] = [Resource.FromString(resourced.resource) for resourced in envelope.resources]
    items = (raw for resourced in envelope.resources for scoped in resourced.scopes for raw in scoped.items)
    owners += [item.FromString(raw) for raw in islice(items, max_items)]
    return {pair.key for owner in owners for pair in owner.attributes}  # type: ignore[attr-defined]  # every owner has them
