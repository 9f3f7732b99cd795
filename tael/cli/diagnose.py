"""Diagnoses a cluster from the answers of its server; pure. ``tael doctor`` prints the findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

Level = Literal["ok", "warning", "failure"]
SERVICES: Final = ("coordinator", "ingest", "query", "compactor")
_LAG_ENTRIES, _SKEW_SECONDS = 10_000, 5.0
_DELETION_TAKES: Final = timedelta(hours=6)
"""Payloads are removed about two hours after the rows; a deletion that takes longer than this is stuck."""
_TROUBLES: Final = ("it failed", "files that cannot be read", "whose roll fails")
"""Words of reasons that mean trouble and not mere waiting."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked: its state in words, and what to do about it."""

    level: Level
    what: str
    cure: str = ""


@dataclass(frozen=True)
class Answers:
    """A server's answers: ``/internal/cluster``, ``/readyz``, services, the cold tier's status and deletions.

    ``skew_seconds`` is how far the server's clock is ahead of this machine's, ``now`` this machine's time.
    """

    cluster: Mapping[str, Any]
    ready: Mapping[str, Any]
    services: Mapping[str, Any]
    cold: Mapping[str, Any]
    deletions: Mapping[str, Any]
    skew_seconds: float
    now: datetime


def diagnose(answers: Answers) -> list[Finding]:
    """All findings, good ones too; a bad one says what to do."""
    return [
        *_server(answers.ready, answers.skew_seconds),
        *_members(answers.cluster),
        *_leader(answers.cluster),
        *_shards(answers.cluster),
        *_keys(answers.cluster),
        *_answers(answers.services),
        *_cold(answers.cold),
        *_deletions(answers.deletions, answers.now + timedelta(seconds=answers.skew_seconds)),
    ]


def _server(ready: Mapping[str, Any], skew_seconds: float) -> Iterator[Finding]:
    reasons = ready.get("reasons") or {}
    for part, reason in reasons.items():
        yield Finding("failure", f"query is not ready: {part}: {reason}", "see its log for what it is waiting for")
    if not reasons:
        yield Finding("ok", "query is ready")
    if abs(skew_seconds) > _SKEW_SECONDS:
        yield Finding(
            "warning",
            f"the server's clock is {skew_seconds:+.0f} s from this machine's",
            "synchronize both clocks (NTP): telemetry has its senders' times",
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
            "failure",
            "no coordinator leads",
            "is one alive, and can it reach NATS? Writing continues without a leader, but no new leases are granted",
        )


def _shards(cluster: Mapping[str, Any]) -> Iterator[Finding]:
    if not cluster.get("shards"):
        yield Finding("failure", "there are no shards", "set TAEL_CLICKHOUSE_URLS of the coordinator")
    for shard in cluster.get("shards", ()):
        name, writer, wal = shard["name"], shard.get("writer") or {}, shard.get("wal")
        if not writer.get("holder"):
            yield Finding("failure", f"{name}: it has no writer; new data waits in the WAL", "is an ingest with the writing role alive?")
        elif (writer.get("lag_entries") or 0) > _LAG_ENTRIES:
            yield Finding(
                "warning",
                f"{name}: {writer['lag_entries']} entries behind its WAL",
                "check ClickHouse's load and tael_writer_retries_total",
            )
        else:
            yield Finding("ok", f"{name}: {writer['holder']} writes it, {writer.get('lag_entries') or 0} entries behind its WAL")
        if writer.get("lost_entries"):
            yield Finding(
                "warning",
                f"{name}: {writer['lost_entries']} entries were lost from its WAL before they were written",
                "did NATS lose its disk? These entries cannot be recovered",
            )
        if wal is None:
            yield Finding(
                "failure", f"{name}: the state of its WAL cannot be read", "does its stream exist, and has it a leader? nats stream report"
            )


def _keys(cluster: Mapping[str, Any]) -> Iterator[Finding]:
    for key, reason in (cluster.get("damaged_keys") or {}).items():
        yield Finding("failure", f"the key {key} is damaged: {reason}", 'see docs/operations.md, "A damaged key"')


def _answers(services: Mapping[str, Any]) -> Iterator[Finding]:
    missing = services.get("missing_shards") or []
    if missing:
        yield Finding("failure", f"answers are missing {', '.join(missing)}", "can query reach the ClickHouse of each?")
    else:
        yield Finding("ok", "all shards answer")


def _cold(cold: Mapping[str, Any]) -> Iterator[Finding]:
    for shard in cold.get("shards", ()):
        if shard["manifest"] == "damaged":
            what = f"{shard['shard']}: the manifest of its cold tier is damaged; its files are not read"
            yield Finding("failure", what, "restore it from the bucket: tael cold rebuild")


def _deletions(deletions: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    for one in deletions.get("deletions", ()):
        late = now - datetime.fromisoformat(one["requested_at"][:19] + "+00:00") > _DELETION_TAKES
        for shard in one["shards"]:
            reason = shard["reason"] or ""
            if shard["state"] != "done" and (late or any(trouble in reason for trouble in _TROUBLES)):
                what = f"{shard['shard']}: deletion {one['id']} of {one['requested_at'][:16]} is not done: {reason or 'it has not started'}"
                yield Finding("warning", what, "see the compactor's log and tael_compactor_set_aside")
