"""The shard map and the routing of a trace id, pure.

The map's versions only grow and shards are only appended: a trace is written to the shard that the newest version names, and reads ask
every shard that any version named.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tael.cluster.stored import Stored

SHARD_MAP_KEY = "shards"


def shard_name(index: int) -> str:
    """How answers and logs speak of a shard."""
    return f"shard-{index}"


class ShardAddress(BaseModel):
    """A shard: its index, and where its ClickHouse answers HTTP."""

    model_config = ConfigDict(frozen=True)

    index: int
    url: str

    @property
    def name(self) -> str:
        """How answers and logs speak of it."""
        return shard_name(self.index)


class ShardMap(Stored):
    """The shards of the cluster, at key ``shards``."""

    version: int
    shards: tuple[ShardAddress, ...]


class SchemaState(Stored):
    """Whether a shard's schema is up to date, and why not, as the leader last found it; at key ``schema.<shard>``."""

    migrated: bool
    reason: str = ""


def schema_key(shard: int) -> str:
    """The key of a shard's SchemaState."""
    return f"schema.{shard}"


def next_shard_map(current: ShardMap | None, urls: tuple[str, ...]) -> ShardMap:
    """The map for these URLs: the current one when nothing changed, else its successor.

    Raises ValueError when shards were taken away: their rows would silently go missing.
    """
    wanted = tuple(ShardAddress(index=i, url=url) for i, url in enumerate(urls))
    if current is None:
        return ShardMap(version=1, shards=wanted)
    # Only the number is checked: a shard whose URL changed has moved, one that is missing from the end would be read by nobody.
    if len(wanted) < len(current.shards):
        raise ValueError(f"the cluster has {len(current.shards)} shards and the settings name {len(wanted)}: shards can only be appended")
    return current if wanted == current.shards else ShardMap(version=current.version + 1, shards=wanted)


@dataclass(frozen=True, slots=True)
class Router:
    """Chooses the shard of a key; CRC-32 spreads ids that are not random too."""

    shard_count: int

    def of(self, key: bytes) -> int:
        """The shard index of a trace id or any other routing key."""
        # Stable across versions and languages, unlike hash(); traces move with the number of shards, and reads ask all of them.
        return zlib.crc32(key) % self.shard_count
