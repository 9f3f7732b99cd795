"""What is wrong with a cluster, from what its server says of itself; pure. ``tael doctor`` prints it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

Level = Literal["ok", "warning", "failure"]
SERVICES: Final = ("coordinator", "ingest", "query", "compactor")
_LAG_ENTRIES, _SKEW_SECONDS = 10_000, 5.0
_DELETION_TAKES: Final = timedelta(hours=6)
"""Payloads go some two hours after the rows; what takes longer than this is stuck."""
_TROUBLES: Final = ("it failed", "files that cannot be read")
"""How a reason begins that is no mere wait."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, in words, and what to do about it."""

    level: Level
    what: str
    cure: str = ""


@dataclass(frozen=True)
class Said:
    """Answers of a server: ``/internal/cluster``, ``/readyz``, services, the cold tier's status and deletions; how far its clock is ahead, and ours."""

    cluster: Mapping[str, Any]
    ready: Mapping[str, Any]
    services: Mapping[str, Any]
    cold: Mapping[str, Any]
    deletions: Mapping[str, Any]
    skew_seconds: float
    now: datetime


def diagnose(said: Said) -> list[Finding]:
    """What is well and what is not, with a cure."""
    return [
        *_server(said.ready, said.skew_seconds),
        *_members(said.cluster),
        *_leader(said.cluster),
        *_shards(said.cluster),
        *_keys(said.cluster),
        *_answers(said.services),
        *_cold(said.cold),
        *_deletions(said.deletions, said.now + timedelta(seconds=said.skew_seconds)),
    ]


def _server(ready: Mapping[str, Any], skew_seconds: float) -> Iterator[Finding]:
    reasons = ready.get("reasons") or {}
    for part, reason in reasons.items():
        yield Finding("failure", f"query is not ready: {part}: {reason}", "its log says what it waits for")
    if not reasons:
        yield Finding("ok", "query is ready")
    if abs(skew_seconds) > _SKEW_SECONDS:
        yield Finding(
            "warning",
            f"the server's clock is {skew_seconds:+.0f} s from this machine's",
            "synchronize both (NTP): times are the senders' clocks'",
        )


def _members(cluster: Mapping[str, Any]) -> Iterator[Finding]:
    alive = [member["target"] for member in cluster.get("members", ()) if member["alive"]]
    for service in SERVICES:
        count = sum(target == service or (service == "ingest" and target == "receive") for target in alive)
        if count:
            yield Finding("ok", f"{service}: {count} alive")
        else:
            yield Finding("failure", f"{service}: none alive", f"start one: python -m services {service}")


def _leader(cluster: Mapping[str, Any]) -> Iterator[Finding]:
    leader = cluster.get("leader") or {}
    if leader.get("holder"):
        yield Finding("ok", f"{leader['holder']} leads, epoch {leader['epoch']}")
    else:
        yield Finding(
            "failure", "no coordinator leads", "is one alive, and NATS in reach of it? Writing goes on without, new leases do not"
        )


def _shards(cluster: Mapping[str, Any]) -> Iterator[Finding]:
    if not cluster.get("shards"):
        yield Finding("failure", "there is no shard", "TAEL_CLICKHOUSE_URLS of the coordinator")
    for shard in cluster.get("shards", ()):
        name, writer, wal = shard["name"], shard.get("writer") or {}, shard.get("wal")
        if not writer.get("holder"):
            yield Finding(
                "failure", f"{name}: nobody writes it; what is sent waits in the WAL", "is an ingest with the writing role alive?"
            )
        elif (writer.get("lag_entries") or 0) > _LAG_ENTRIES:
            yield Finding(
                "warning", f"{name}: {writer['lag_entries']} entries behind its WAL", "ClickHouse's load, tael_writer_retries_total"
            )
        else:
            yield Finding("ok", f"{name}: {writer['holder']} writes it, {writer.get('lag_entries') or 0} entries behind its WAL")
        if writer.get("lost_entries"):
            yield Finding(
                "warning", f"{name}: {writer['lost_entries']} entries went from its WAL unwritten", "did NATS lose its disk? They are gone"
            )
        if wal is None:
            yield Finding("failure", f"{name}: its WAL cannot be asked", "is the stream there, and has it a leader? nats stream report")


def _keys(cluster: Mapping[str, Any]) -> Iterator[Finding]:
    for key, reason in (cluster.get("damaged_keys") or {}).items():
        yield Finding("failure", f"the key {key} is damaged: {reason}", 'docs/operations.md, "A damaged key"')


def _answers(services: Mapping[str, Any]) -> Iterator[Finding]:
    missing = services.get("missing_shards") or []
    if missing:
        yield Finding("failure", f"answers lack {', '.join(missing)}", "is the ClickHouse of each in reach of query?")
    else:
        yield Finding("ok", "every shard answers")


def _cold(cold: Mapping[str, Any]) -> Iterator[Finding]:
    for shard in cold.get("shards", ()):
        if shard["manifest"] == "damaged":
            what = f"{shard['shard']}: the manifest of its cold tier is damaged; its files are not read"
            yield Finding("failure", what, "tael cold rebuild restores it from the bucket")


def _deletions(deletions: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    for one in deletions.get("deletions", ()):
        late = now - datetime.fromisoformat(one["requested_at"][:19] + "+00:00") > _DELETION_TAKES
        for shard in one["shards"]:
            reason = shard["reason"] or ""
            if shard["state"] != "done" and (late or reason.startswith(_TROUBLES)):
                what = f"{shard['shard']}: deletion {one['id']} of {one['requested_at'][:16]} is not done: {reason or 'it has not begun'}"
                yield Finding("warning", what, "the log of the compactor, tael_compactor_set_aside")
