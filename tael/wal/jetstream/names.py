"""What streams, headers and errors are called (docs/formats.md; error codes are nats-server's server/errors.json)."""

from __future__ import annotations

ITEMS_HEADER, SEQUENCE_HEADER, REASON_HEADER = "Tael-Items", "Tael-Sequence", "Tael-Reason"
DUPLICATE_WINDOW_SECONDS = 120
FULL_CODES = {10077, 10047, 10023, 10028}
"""Maximum messages or bytes exceeded, storage resources exceeded, insufficient resources."""
GONE_CODES = {10037, 10043}
"""No message found, no such sequence (the same)."""


def stream_name(cluster_id: str, shard: int) -> str:
    """The stream that holds a shard's WAL."""
    return f"{cluster_id}_wal_{shard}"


def subject_of(cluster_id: str, shard: int | str, signal: str) -> str:
    """The subject of a signal's entries in a shard's WAL; ``*`` stands for every shard."""
    return f"{cluster_id}.wal.{shard}.{signal}"


def dead_stream_name(cluster_id: str) -> str:
    """The stream that holds every shard's dead letters."""
    return f"{cluster_id}_dead"


def digest_stream_name(cluster_id: str, shard: int) -> str:
    """The stream that holds the digests of what a shard's writer wrote last."""
    return f"{cluster_id}_digests_{shard}"


def digest_subject(cluster_id: str, shard: int) -> str:
    """The subject of that stream."""
    return f"{cluster_id}.digests.{shard}"
