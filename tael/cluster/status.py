"""The cluster's state as its keys show it: the answer of ``/internal/cluster``."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tael.cluster.api import KeyValue, Versioned
from tael.cluster.lease import LEADER_KEY, MEMBER_PREFIX, Lease, Member, compactor_key, writer_key
from tael.cluster.membership import Liveness
from tael.cluster.shard import SHARD_MAP_KEY, SchemaState, ShardAddress, ShardMap, schema_key
from tael.cluster.stored import Stored
from tael.errors import Damaged
from tael.model.lanes import aside_of
from tael.wal.api import WalState

S = TypeVar("S", bound=Stored)
WalStates = Callable[[int], Awaitable[Sequence[WalState | None]]]


class ClusterStatus:
    """Reads the cluster's keys on demand; liveness is judged from one call to the next."""

    def __init__(self, kv: KeyValue, cluster_id: str, node_id: str, ttl_seconds: float, wal_states: WalStates) -> None:
        self._kv = kv
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._liveness = Liveness(ttl_seconds)
        self._wal_states = wal_states

    async def read(self) -> dict[str, Any]:
        """The JSON object of ``/internal/cluster``. Raises Unavailable."""
        keys = _Keys({value.key: value for value in await self._kv.list("")})
        now = time.monotonic()
        members = [key for key in sorted(keys.stored) if key.startswith(MEMBER_PREFIX)]
        # The first call counts every member as alive; later ones show the age of members without a heartbeat in between.
        self._liveness.observe({key: keys.stored[key].revision for key in members}, now)
        known = keys.read(ShardMap, SHARD_MAP_KEY)
        shards = known.shards if known else ()
        wals = await self._wal_states(len(shards)) if shards else []
        return {
            "cluster_id": self._cluster_id,
            "node_id": self._node_id,
            "leader": _lease(keys.read(Lease, LEADER_KEY)),
            "members": [self._member(key, member, now) for key in members if (member := keys.read(Member, key))],
            "shard_map_version": known.version if known else 0,
            "shards": [_shard(keys, address, wal) for address, wal in zip(shards, wals, strict=True)],
            "damaged_keys": keys.damaged,
        }

    def _member(self, key: str, member: Member, now: float) -> dict[str, Any]:
        return {
            "node_id": member.node_id,
            "target": member.target,
            "internal": member.internal,
            "alive": self._liveness.alive(key, now),
            "seconds_since_beat": round(self._liveness.age_seconds(key, now) or 0.0, 1),
            "started_at": member.started_at,
        }


@dataclass
class _Keys:
    """The bucket's values at one moment; ``damaged`` collects the keys that could not be decoded, with the reason."""

    stored: Mapping[str, Versioned]
    damaged: dict[str, str] = field(default_factory=dict)

    def read(self, kind: type[S], key: str) -> S | None:
        """The value of a key; None if it does not exist or is damaged."""
        found = self.stored.get(key)
        if found is None:
            return None
        try:
            return kind.decode(found)
        except Damaged as error:
            self.damaged[key] = error.reason
            return None


def _lease(lease: Lease | None) -> dict[str, Any] | None:
    return {"holder": lease.holder, "epoch": lease.epoch} if lease else None


def _shard(keys: _Keys, address: ShardAddress, wal: WalState | None) -> dict[str, Any]:
    schema = keys.read(SchemaState, schema_key(address.index))
    return {
        "name": address.name,
        "url": address.url,
        "schema": schema.model_dump() if schema else None,
        "writer": _writer(keys.read(Lease, writer_key(address.index)), wal),
        "aside_writer": _writer(keys.read(Lease, writer_key(aside_of(address.index))), None),
        "compactor": _lease(keys.read(Lease, compactor_key(address.index))),
        "wal": {"first": wal.first, "last": wal.last, "bytes": wal.size_bytes} if wal else None,
    }


def _writer(lease: Lease | None, wal: WalState | None) -> dict[str, Any] | None:
    if lease is None:
        return None
    return {
        **(_lease(lease) or {}),
        "committed": lease.committed,
        "intent": lease.intent.model_dump(exclude={"mark"}) if lease.intent else None,
        "lag_entries": max(0, wal.last - lease.committed) if wal else None,
        "generation": lease.generation,
        "lost_entries": lease.lost,
    }
