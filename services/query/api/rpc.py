"""The declaration of an API's gRPC services, and how each method answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from google.protobuf.message import Message

PACKET_BYTES = 1 << 20
"""The approximate size of one message of a stream; clients accept 4 MiB by default."""


@dataclass(slots=True)
class Call:
    """The caller's tenant, and the shards missing from the answer, which gRPC's trailers name."""

    tenant: str
    missing: list[str] = field(default_factory=list)

    def lacks(self, names: Iterable[str]) -> None:
        """Record shards that did not answer."""
        self.missing += [name for name in names if name not in self.missing]


Answer: TypeAlias = "Callable[[Call, Any], AsyncGenerator[Message]]"


@dataclass(frozen=True, slots=True)
class Method:
    """One method: ``answer`` yields the messages for a ``request``; exactly one where it is not ``streamed``."""

    name: str
    request: type[Message]
    answer: Answer
    streamed: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """A gRPC service with its full name, such as ``tempopb.StreamingQuerier``."""

    name: str
    methods: Sequence[Method]


def packets(message: Any, repeated: str, most: int = PACKET_BYTES) -> Iterator[Any]:
    """Split a message into several of about ``most`` bytes along a repeated field; the other fields are in all of them."""
    if message.ByteSize() <= most:
        yield message
        return
    items = list(getattr(message, repeated))
    message.ClearField(repeated)
    while items:
        packet = type(message)()
        packet.CopyFrom(message)
        size = count = 0
        while count < len(items) and (not count or size + items[count].ByteSize() <= most):
            size += items[count].ByteSize()
            count += 1
        getattr(packet, repeated).extend(items[:count])
        del items[:count]
        yield packet
