"""The shard map and the routing of keys to shards; pure.

The map's version only grows, and shards are only appended: a trace is written to the shard that the newest version chooses, and reads query
every shard.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tael.cluster.stored import Stored

SHARD_MAP_KEY = "shards"


def shard_name(index: int) -> str:
    """A shard's name in answers and log lines."""
    return f"shard-{index}"


class ShardAddress(BaseModel):
    """A shard: its index, and the HTTP URL of its ClickHouse."""

    model_config = ConfigDict(frozen=True)

    index: int
    url: str

    @property
    def name(self) -> str:
        """Its name in answers and log lines."""
        return shard_name(self.index)


class ShardMap(Stored):
    """The shards of the cluster, at key ``shards``."""

    version: int
    shards: tuple[ShardAddress, ...]


class SchemaState(Stored):
    """Whether a shard's schema is up to date, or why not, as last checked by the leader; at key ``schema.<shard>``."""

    migrated: bool
    reason: str = ""


def schema_key(shard: int) -> str:
    """The key of a shard's SchemaState."""
    return f"schema.{shard}"


def next_shard_map(current: ShardMap | None, urls: tuple[str, ...]) -> ShardMap:
    """The map for these URLs: the current one when nothing changed, else its successor.

    Raises ValueError when shards were removed: their rows would silently be missing from answers.
    """
    wanted = tuple(ShardAddress(index=i, url=url) for i, url in enumerate(urls))
    if current is None:
        return ShardMap(version=1, shards=wanted)
    # Only the number is checked: a shard whose URL changed has moved, but one missing from the end would no longer be read.
    if len(wanted) < len(current.shards):
        raise ValueError(f"the cluster has {len(current.shards)} shards and the settings name {len(wanted)}: shards can only be appended")
    return current if wanted == current.shards else ShardMap(version=current.version + 1, shards=wanted)


@dataclass(frozen=True, slots=True)
class Router:
    """Chooses the shard of a key by CRC-32, which also spreads ids that are not random."""

    shard_count: int

    def shard_of(self, key: bytes) -> int:
        """The shard index of a trace id or any other routing key."""
        # CRC-32 is stable across versions and languages, unlike hash(). Traces may change shards when shards are added, as reads query all
        # of them.
        return zlib.crc32(key) % self.shard_count
