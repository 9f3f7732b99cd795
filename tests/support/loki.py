"""Loki's push requests in the formats that senders use."""

from __future__ import annotations

import json
from typing import Any

from tael.pb.loki_push_pb2 import Entry, Push, Stream, Timestamp


def as_protobuf(pushed: Any) -> bytes:
    """A push request, given as JSON, in protobuf, uncompressed."""
    message = Push()
    for stream in pushed["streams"]:
        labels = ", ".join(f"{name}={json.dumps(value)}" for name, value in stream["stream"].items())
        message.streams.append(Stream(labels=f"{{{labels}}}".encode(), entries=[_entry(*values) for values in stream["values"]]))
    return message.SerializeToString()


def _entry(time_ns: str, line: str, metadata: dict[str, str] | None = None) -> Entry:
    entry = Entry(timestamp=Timestamp(seconds=int(time_ns) // 10**9, nanos=int(time_ns) % 10**9), line=line.encode())
    for name, value in (metadata or {}).items():
        entry.structured_metadata.add(name=name.encode(), value=value.encode())
    return entry
