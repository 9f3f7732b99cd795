"""The compactor's loop over the shards that it holds: when it rolls, when it does not, and for whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar

import pytest

from services.compactor.app import roll
from services.compactor.cold import ColdTier
from services.compactor.settings import CompactorSettings
from tael.cluster.cold import ColdControl
from tael.cluster.lease import Intent, Lease, compactor_key, writer_key
from tael.cluster.manifests import cold_key
from tael.cluster.rolls import ROLL_KEY, RollRequest
from tael.cluster.shard import SHARD_MAP_KEY, ShardAddress, ShardMap
from tael.cold.files import ColdFile
from tael.cold.plan import Partitions
from tael.errors import Unavailable
from tael.model.lanes import aside_of
from tael.model.time import HOUR_NS
from tael.runtime.retention import CurrentRetention
from tael.runtime.service import Stop
from tael.storage.clickhouse.erase_cold import ClickHouseColdErase
from tael.storage.clickhouse.rolling import ClickHouseRolling
from tael.storage.erase import ColdEraseStore, Erasure, Selection
from tael.storage.rolling import Pace
from tael.wal.api import WalState
from tests.support.cold_shard import HOUR, Cold, cold
from tests.support.storage import RECEIVED_NS, of_service, wire_span

__all__ = ["cold"]
_DEADLINE_SECONDS = 30.0


class Low(ClickHouseRolling):
    """A disk that is nearly full."""

    async def free_bytes(self) -> int:
        return 1 << 20


@asynccontextmanager
async def compactor(
    cold: Cold,
    node_id: str,
    variables: Mapping[str, str] | None = None,
    *,
    low: bool = False,
    behind: int = 0,
    eraser: ColdEraseStore | None = None,
) -> AsyncIterator[ColdTier]:
    """The loop of one compactor over shards that are all the same ClickHouse; ``behind`` entries wait in each WAL."""
    settings = CompactorSettings.model_validate(
        {"TAEL_NODE_ID": node_id, "TAEL_COLD_TIER": "true", "TAEL_ROLL_QUIET_SECS": "0", "TAEL_LEASE_TTL_SECS": "0.5", **(variables or {})}
    )

    async def wal_states(count: int) -> list[WalState | None]:
        return [WalState(1, 10 + behind, 1000)] * count

    def store(_: ShardAddress) -> ClickHouseRolling:
        return (Low if low else ClickHouseRolling)(cold.clickhouse, cold.bucket_url)

    def erases(_: ShardAddress) -> ColdEraseStore:
        return eraser or ClickHouseColdErase(cold.clickhouse, cold.bucket_url)

    tier, stop = ColdTier(settings, cold.kv, cold.objects, store, erases, wal_states), Stop()
    running = asyncio.create_task(roll(settings, stop, cold.kv, tier, CurrentRetention(settings)))
    try:
        yield tier
    finally:
        stop.set()
        await running


async def hold(cold: Cold, node_id: str, epoch: int = 1) -> None:
    """The shard's compactor lease is that node's; there is no other shard that anybody holds."""
    shards = (ShardAddress(index=cold.shard, url="http://unused"),)
    if await cold.kv.get(SHARD_MAP_KEY) is None:
        await cold.kv.create(SHARD_MAP_KEY, ShardMap(version=1, shards=shards).encode())
        await cold.kv.put(writer_key(cold.shard), Lease(holder="w", epoch=1, committed=10).encode())
    await cold.kv.put(compactor_key(cold.shard), Lease(holder=node_id, epoch=epoch).encode())


async def hot(cold: Cold) -> Partitions:
    return await cold.store().partitions()


async def gone(cold: Cold) -> None:
    """Wait until nothing is hot or on its way."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while await hot(cold) != Partitions((), ()):  # noqa: ASYNC110  # the engine's state
            await asyncio.sleep(0.05)


async def settled(cold: Cold, tier: ColdTier) -> None:
    """Wait until the shard was looked at."""
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while not any(shard.due > time.monotonic() for shard in tier._shards.values()):  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.02)


async def test_a_compactor_rolls_what_it_holds(cold: Cold) -> None:
    """And a second one goes on when it gets the lease."""
    await hold(cold, "one")
    await cold.tier.store(of_service("shop", wire_span(0)))
    async with compactor(cold, "one"), compactor(cold, "two"):
        await gone(cold)
        await hold(cold, "two", epoch=2)
        await cold.tier.store(of_service("shop", wire_span(1)))
        await cold.kv.put(ROLL_KEY, RollRequest(before_ns=HOUR + HOUR_NS).encode())
        await gone(cold)
    assert (await cold.ledger())["spans"] == 2
    assert (await cold.manifest()).head.epoch == 2


async def test_a_deletion_that_failed_writes_another_file_the_next_time(cold: Cold) -> None:
    """In the same process too: the first insert may still be going on where nobody waits for it any more."""

    class Failing(ClickHouseColdErase):
        written: ClassVar[list[str]] = []

        async def rewrite(self, selection: Selection, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
            file = await super().rewrite(selection, files, generation, pace)
            self.written.append(file.key)
            if len(self.written) == 1:
                raise Unavailable("the answer was lost")
            return file

    trace_id = b"1" * 16
    await hold(cold, "one")
    await cold.tier.store(of_service("shop", wire_span(0), wire_span(1, trace_id=trace_id)))
    await cold.roll()
    address, lease = ShardAddress(index=cold.shard, url="http://unused"), Lease(holder="one", epoch=cold.epoch + 1)
    selection = Selection(Erasure("t1", "trace", trace_id.hex(), RECEIVED_NS + 1), (trace_id,))
    async with compactor(cold, "nobody", eraser=Failing(cold.clickhouse, cold.bucket_url)) as tier:
        for attempt in range(2):
            async with AsyncExitStack() as stack:
                if attempt == 0:
                    stack.enter_context(pytest.raises(Unavailable))
                eraser = await stack.enter_async_context(tier.erasing(address, lease))
                await eraser.erase(selection)
    [file] = (await cold.manifest()).files("spans")
    assert len(set(Failing.written)) == 2
    assert (file.key, file.rows) == (Failing.written[1], 1)
    assert (await cold.ledger())["spans"] == 1


async def test_a_manifest_is_looked_at_and_restored_by_hand(cold: Cold) -> None:
    """Damaged, or lost while its compactor has nothing to do: it comes back as it was, and goes on."""
    await hold(cold, "one")
    await cold.tier.store(of_service("shop", wire_span(0)))
    control = ColdControl(cold.kv, lambda: {cold.shard: cold.store()})
    [before] = (await control.look()).value.shards
    assert (before.state, [one.rows for one in before.waiting(HOUR + HOUR_NS)], before.waiting(HOUR)) == ("missing", [1], [])
    async with compactor(cold, "one"):
        await gone(cold)
        [rolled] = (await control.look()).value.shards
        assert (rolled.state, rolled.head.held["spans"].rows, rolled.hot) == ("ok", 1, ())
        await cold.kv.put(cold_key(cold.shard), b"{}")
        assert [one.state for one in (await control.look()).value.shards] == ["damaged"]
        assert await control.rebuild(force=False) == [cold.shard]
        await control.roll(HOUR)
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while (await control.look()).value.shards[0].state != "ok":  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.05)
    [restored] = (await control.look()).value.shards
    assert restored.head.held == rolled.head.held
    assert await control.rebuild(force=False) == []
    assert (await cold.ledger())["spans"] == 1


async def test_hours_stay_while_they_are_to_stay(cold: Cold) -> None:
    """Off, within the window, not quiet, or the writer behind: nothing leaves. Asked for by hand, or the disk low, it does."""
    await hold(cold, "one")
    await cold.tier.store(of_service("shop", wire_span(0)))
    before = await hot(cold)
    window = str((time.time_ns() - HOUR) / HOUR_NS)
    for variables in ({"TAEL_COLD_TIER": "false"}, {"TAEL_HOT_TIER_HOURS": window}, {"TAEL_ROLL_QUIET_SECS": "3600"}):
        async with compactor(cold, "one", variables) as tier:
            await settled(cold, tier)
        assert await hot(cold) == before
    async with compactor(cold, "one", {"TAEL_ROLL_MAX_LAG_SECS": "0"}, behind=5) as tier:
        await settled(cold, tier)
        await asyncio.sleep(1.5)
        assert await hot(cold) == before
    dead = Lease(holder="w", epoch=1, committed=10, intent=Intent(first=11, last=12))
    await cold.kv.put(writer_key(aside_of(cold.shard)), dead.encode())
    async with compactor(cold, "one") as tier:
        await settled(cold, tier)
    assert await hot(cold) == before
    await cold.kv.delete(writer_key(aside_of(cold.shard)))
    await cold.tier.store(of_service("shop", wire_span(1)))
    async with compactor(cold, "one", {"TAEL_HOT_TIER_HOURS": window, "TAEL_ROLL_MAX_LAG_SECS": "0"}, low=True, behind=5):
        await gone(cold)
