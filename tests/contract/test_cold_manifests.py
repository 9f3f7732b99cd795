"""A shard's manifest in a real key-value store: one owner at a time, whole or not at all, and back again from the bucket alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from nats.aio.client import Client

from tael.cluster.manifests import ManifestOwner, Manifests, cold_key
from tael.cluster.nats_kv import NatsKeyValue
from tael.cold import transitions as m
from tael.cold.pages import head_key
from tael.errors import Conflict, Damaged, Fenced, NotFound, Unavailable
from tael.model.time import HOUR_NS, TimeRange
from tests.support.cold_files import HOUR, a_file
from tests.support.memory_objects import MemoryObjects

NOW = HOUR + 50 * HOUR_NS
Owners = Callable[[int], Awaitable[ManifestOwner]]


class Kept:
    """A key-value store and a bucket, and owners and readers of shard 0 over them."""

    def __init__(self, kv: NatsKeyValue) -> None:
        self.kv, self.objects = kv, MemoryObjects()

    def reader(self) -> Manifests:
        return Manifests(self.kv, self.objects)

    async def owner(self, epoch: int) -> ManifestOwner:
        owner = ManifestOwner(self.kv, self.objects, self.reader(), 0, epoch)
        await owner.take()
        await owner.load()
        return owner


@pytest.fixture
async def kept(nats_client: Client) -> Kept:
    kv = NatsKeyValue(nats_client, "tael")
    await kv.ensure()
    return Kept(kv)


async def roll(owner: ManifestOwner, hour_ns: int = HOUR) -> None:
    """All the way, for one tenant."""
    await owner.commit(m.begin_move(owner.manifest, "spans", hour_ns, owner.epoch))
    generation = owner.manifest.revision
    await owner.commit(m.moved(owner.manifest, "spans", hour_ns, owner.epoch))
    await owner.commit(m.committed(owner.manifest, "spans", hour_ns, [a_file(hour_ns=hour_ns, generation=generation)], owner.epoch, NOW))
    await owner.commit(m.dropped(owner.manifest, "spans", hour_ns, owner.epoch))


async def test_readers_see_what_an_owner_committed(kept: Kept) -> None:
    """At once; an old head leads to what was there then; later hours need no bucket."""
    reader = kept.reader()
    assert (await reader.read(0)).files("spans") == []
    owner = await kept.owner(1)
    await roll(owner)
    before = await reader.head(0)
    await roll(owner, HOUR + HOUR_NS)
    after = await reader.read(0, ["spans"])
    assert [file.hour_ns for file in after.files("spans")] == [HOUR, HOUR + HOUR_NS]
    assert [file.hour_ns for file in (await reader.read(0, ["spans"], head=before)).files("spans")] == [HOUR]
    assert not after.head.unchanged_since(before, ["spans"])
    assert after.head.unchanged_since(before, ["spans"], TimeRange(HOUR, HOUR + HOUR_NS))
    kept.objects.kept.clear()
    assert (await kept.reader().read(0, ["spans"], TimeRange(HOUR + 2 * HOUR_NS, NOW))).files("spans") == []
    with pytest.raises(Damaged, match="the bucket does not have it"):
        await kept.reader().read(0, ["spans"])


async def test_the_owner_before_is_fenced(kept: Kept) -> None:
    """Whether it knows of the next one or not."""
    first = await kept.owner(1)
    second = await kept.owner(2)
    with pytest.raises(Fenced):
        await first.commit(m.begin_move(first.manifest, "spans", HOUR, 1))
    with pytest.raises(Fenced):
        await first.take()
    await roll(second)
    assert len((await kept.reader().read(0)).files("spans")) == 1


async def test_a_lost_answer_is_no_lost_commit(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write took effect, and was made again."""
    owner, update = await kept.owner(1), kept.kv.update

    async def twice(key: str, value: bytes, revision: int) -> int:
        await update(key, value, revision)
        return await update(key, value, revision)

    monkeypatch.setattr(kept.kv, "update", twice)
    await roll(owner)
    assert len((await kept.reader().read(0)).files("spans")) == 1


async def test_a_lost_key_value_store_comes_back_from_the_bucket(kept: Kept) -> None:
    """Until then readers do not take the cold tier for empty; leases that count from the beginning do."""
    reader = kept.reader()
    owner = await kept.owner(57)
    await roll(owner)
    await owner.commit(m.begin_move(owner.manifest, "logs", HOUR, 57))
    known = await reader.read(0)
    await kept.kv.delete(cold_key(0))
    for one in (reader, kept.reader()):
        with pytest.raises(Unavailable, match="restores it from the bucket"):
            await one.read(0)
    await kept.owner(1)
    again = await reader.read(0)
    assert again.files("spans") == known.files("spans")
    assert [(one.table, one.epoch) for one in again.head.open] == [("logs", 1)]
    assert again.revision > known.revision
    with pytest.raises((Conflict, Fenced)):
        await roll(owner)


async def test_a_bucket_that_is_not_made_yet_has_no_manifest(kept: Kept) -> None:
    """As at the first start, when queries come before the compactor has made it."""

    class NoBucket(MemoryObjects):
        async def list(self, prefix: str) -> list[str]:
            raise NotFound("NoSuchBucket")

    assert (await Manifests(kept.kv, NoBucket()).read(0)).revision == 0


async def test_copies_of_old_heads_go(kept: Kept) -> None:
    """The newest stay."""
    owner = await kept.owner(1)
    for number in range(5):
        await roll(owner, HOUR + number * HOUR_NS)
    assert await owner.tidy() == 5
    heads = [key for key in kept.objects.kept if "/heads/" in key]
    assert max(heads) == head_key(0, owner.manifest.revision)
    assert await owner.tidy() == 0
