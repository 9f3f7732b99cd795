"""The cluster as its keys show it: what ``/internal/cluster`` answers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tael.cluster.api import KeyValue, Versioned
from tael.cluster.lease import LEADER_KEY, MEMBER_PREFIX, Lease, Member, compactor_key, writer_key
from tael.cluster.membership import Liveness
from tael.cluster.shard import SHARD_MAP_KEY, SchemaState, ShardMap, schema_key
from tael.wal.api import LogState

LogStates = Callable[[int], Awaitable[Sequence[LogState | None]]]


class ClusterStatus:
    """Reads the cluster's keys on demand; liveness is judged from one question to the next."""

    def __init__(self, kv: KeyValue, cluster_id: str, node_id: str, ttl_seconds: float, log_states: LogStates) -> None:
        self._kv = kv
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._liveness = Liveness(ttl_seconds)
        self._log_states = log_states

    async def read(self) -> dict[str, Any]:
        """The JSON object of ``/internal/cluster``. Raises Unavailable."""
        keys = {value.key: value for value in await self._kv.list("")}
        now = time.monotonic()
        members = {key: value for key, value in keys.items() if key.startswith(MEMBER_PREFIX)}
        self._liveness.observe({key: value.revision for key, value in members.items()}, now)
        shard_map = keys.get(SHARD_MAP_KEY)
        known = ShardMap.decode(shard_map.value) if shard_map else None
        logs = await self._log_states(len(known.shards)) if known else []
        return {
            "cluster_id": self._cluster_id,
            "node_id": self._node_id,
            "leader": _lease(keys.get(LEADER_KEY)),
            "members": [self._member(key, value, now) for key, value in sorted(members.items())],
            "shard_map_version": known.version if known else 0,
            "shards": [_shard(keys, address.index, address.name, address.url, log) for address, log in zip(known.shards, logs, strict=True)]
            if known
            else [],
        }

    def _member(self, key: str, value: Versioned, now: float) -> dict[str, Any]:
        member = Member.decode(value.value)
        return {
            "node_id": member.node_id,
            "target": member.target,
            "internal": member.internal,
            "alive": self._liveness.alive(key, now),
            "seconds_since_beat": round(self._liveness.age_seconds(key, now) or 0.0, 1),
            "started_at": member.started_at,
        }


def _lease(value: Versioned | None) -> dict[str, Any] | None:
    if value is None:
        return None
    lease = Lease.decode(value.value)
    return {"holder": lease.holder, "epoch": lease.epoch}


def _shard(keys: dict[str, Versioned], index: int, name: str, url: str, log: LogState | None) -> dict[str, Any]:
    stored = keys.get(writer_key(index))
    writer: dict[str, Any] | None = None
    if stored is not None:
        lease = Lease.decode(stored.value)
        intent = lease.intent.model_dump() if lease.intent else None
        lag = max(0, log.last - lease.committed) if log else None
        writer = {"holder": lease.holder, "epoch": lease.epoch, "committed": lease.committed, "intent": intent, "lag_entries": lag}
    schema = keys.get(schema_key(index))
    return {
        "name": name,
        "url": url,
        "schema": SchemaState.decode(schema.value).model_dump() if schema else None,
        "writer": writer,
        "compactor": _lease(keys.get(compactor_key(index))),
        "log": {"first": log.first, "last": log.last, "bytes": log.size_bytes} if log else None,
    }
