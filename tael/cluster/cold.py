"""The state of every shard's cold tier, and the manual operations on it: what ``tael cold`` shows and does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tael.cluster.api import KeyValue
from tael.cluster.manifests import cold_key
from tael.cluster.rolls import ROLL_KEY, RollRequest
from tael.cluster.shard import shard_name
from tael.cold.manifest import Head
from tael.cold.plan import Partition
from tael.errors import Damaged, Retryable
from tael.model.time import HOUR_NS
from tael.runtime.tasks import together
from tael.storage.api import Answer
from tael.storage.rolling import RollStore

State = Literal["ok", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class ShardCold:
    """A shard's head and its state, and the hot partitions; ``hot`` is None when the shard's ClickHouse does not answer."""

    shard: int
    state: State
    head: Head
    hot: Sequence[Partition] | None

    def waiting(self, before_ns: int) -> list[Partition]:
        """The hot partitions whose hour ended before a time (ns)."""
        return [one for one in self.hot or () if one.hour_ns + HOUR_NS <= before_ns]


@dataclass(frozen=True, slots=True)
class Cold:
    """All shards, and the time (ns) up to which a roll was requested by hand, 0 for none."""

    shards: Sequence[ShardCold]
    asked_ns: int


class ColdControl:
    """Reads the state of the cold tier, and leaves requests for the compactors. ``stores`` returns the shards' stores, by number."""

    def __init__(self, kv: KeyValue, stores: Callable[[], Mapping[int, RollStore]]) -> None:
        self._kv = kv
        self._stores = stores

    async def look(self) -> Answer[Cold]:
        """The state of every shard; ``missing`` names those whose ClickHouse does not answer. Raises Retryable if the key-value store does
        not.
        """
        found = await self._kv.get(ROLL_KEY)
        asked = RollRequest.decode(found).before_ns if found else 0
        shards = await together((self._shard(number, store) for number, store in sorted(self._stores().items())), name="look at a shard")
        return Answer(Cold(shards, asked), tuple(shard_name(one.shard) for one in shards if one.hot is None))

    async def roll(self, before_ns: int) -> None:
        """Request that hours that ended before that time leave the hot tier now. Raises Retryable."""
        await self._kv.put(ROLL_KEY, RollRequest(before_ns=before_ns).encode())

    async def rebuild(self, *, force: bool) -> list[int]:
        """Have the compactors restore unreadable heads (with ``force``, all heads) from the bucket; return the shards concerned. Raises
        Retryable.

        This loses nothing: no process acts on a head before the bucket has a copy of it.
        """
        shards: list[int] = []
        for number in sorted(self._stores()):
            state, _ = await self._head(number)
            # Only delete: a missing head makes the shard's compactor restore it, under its own lease.
            if state == "damaged" or (force and state == "ok"):
                await self._kv.delete(cold_key(number))
            if force or state != "ok":
                shards.append(number)
        return shards

    async def _shard(self, number: int, store: RollStore) -> ShardCold:
        state, head = await self._head(number)
        try:
            hot: Sequence[Partition] | None = (await store.partitions()).hot
        except Retryable:
            hot = None
        return ShardCold(number, state, head, hot)

    async def _head(self, number: int) -> tuple[State, Head]:
        found = await self._kv.get(cold_key(number))
        if found is None:
            return "missing", Head(number)
        try:
            return "ok", Head.decode(found.key, found.value)
        except Damaged:
            return "damaged", Head(number)
