"""Names of streams, subjects and headers (docs/formats.md), and error codes (nats-server's server/errors.json)."""

from __future__ import annotations

from tael.model.lanes import wal_name

ITEMS_HEADER, SEQUENCE_HEADER, REASON_HEADER = "Tael-Items", "Tael-Sequence", "Tael-Reason"
DUPLICATE_WINDOW_SECONDS = 120
FULL_CODES = {10077, 10047, 10023, 10028}
"""The stream or the server is full: maximum messages or bytes exceeded, storage resources exceeded, insufficient resources."""
GONE_CODES = {10037, 10043}
"""The message does not exist: no message found, sequence not found."""


def stream_name(cluster_id: str, wal: int) -> str:
    """The stream that holds a WAL."""
    return f"{cluster_id}_wal_{wal_name(wal)}"


def subject_of(cluster_id: str, wal: int | None, signal: str) -> str:
    """The subject of a signal's entries in a WAL; with None a wildcard for every WAL."""
    return f"{cluster_id}.wal.{'*' if wal is None else wal_name(wal)}.{signal}"


def dead_stream_name(cluster_id: str) -> str:
    """The stream that holds every shard's dead letters."""
    return f"{cluster_id}_dead"


def digest_stream_name(cluster_id: str, wal: int) -> str:
    """The stream that holds the digests of the records last written from a WAL."""
    return f"{cluster_id}_digests_{wal_name(wal)}"


def digest_subject(cluster_id: str, wal: int) -> str:
    """The subject of that stream."""
    return f"{cluster_id}.digests.{wal_name(wal)}"
