"""The objects with packs' words go where their packs go: with rolls that died, merges, deletions, and a manifest that comes back from the
bucket.
"""

from __future__ import annotations

import hashlib

import pytest

from tael.cluster.manifests import cold_key
from tael.cold.files import ColdFile
from tael.storage.clickhouse.pack_words import STRUCTURE, crc
from tael.storage.erase import Erasure, Selection
from tests.support.cold import Crash
from tests.support.cold_shard import HOUR, Cold, cold, finish
from tests.support.storage import RECEIVED_NS

__all__ = ["cold"]


async def words(cold: Cold, pack: ColdFile) -> set[int]:
    rows = await cold.clickhouse.query(f"SELECT word FROM s3('{cold.bucket_url}{pack.words_key}', 'Parquet', {STRUCTURE})", {})
    return {int(word) for (word,) in rows}


async def packs(cold: Cold) -> list[ColdFile]:
    return (await cold.manifest()).files("payloads")


async def stored(cold: Cold) -> set[str]:
    """The keys of the shard's packs and their words in the bucket."""
    return {key for key in await cold.objects.list("payloads/") if key.rpartition("/")[2].lstrip("_").startswith(f"{cold.shard}-")}


def of(*texts: str) -> set[int]:
    return set(map(crc, texts))


async def test_words_of_merged_packs_are_those_of_both(cold: Cold) -> None:
    for content in (b"alpha said", b"beta said"):
        await cold.tier.store_payloads(content)
        await cold.roll()
    before = await packs(cold)
    assert [await words(cold, pack) for pack in before] == [of("alpha", "said"), of("beta", "said")]
    roller = await cold.roller()
    await roller.load()
    assert await roller.merge()
    [after] = await packs(cold)
    assert await words(cold, after) == of("alpha", "beta", "said")
    assert await stored(cold) == {key for pack in (*before, after) for key in pack.keys}
    await roller.sweep()
    assert await stored(cold) == {after.key, after.words_key}
    assert (await cold.manifest()).head.held["payloads"].bytes == after.bytes + after.words


async def test_words_of_a_payload_go_with_it(cold: Cold) -> None:
    await cold.tier.store_payloads(b"alpha said", b"beta said")
    await cold.roll()
    for content, left in ((b"beta said", of("alpha", "said")), (b"alpha said", None)):
        what = Erasure("t1", "tenant", "t1", RECEIVED_NS + 1)
        await (await cold.eraser()).collect([Selection(what, hashes=(hashlib.sha256(content).digest(),), hour_ns=HOUR)])
        await (await cold.roller()).sweep()
        found = await packs(cold)
        assert [await words(cold, pack) for pack in found] == ([left] if left else [])
        assert await stored(cold) == {key for pack in found for key in pack.keys}


async def test_words_of_a_roll_that_died_are_deleted(cold: Cold) -> None:
    await cold.tier.store_payloads(b"alpha")
    cold.crash_at = "exported"
    with pytest.raises(Crash):
        await finish(await cold.roller())
    cold.crash_at = ""
    await cold.roll()
    await (await cold.roller()).sweep()
    [pack] = await packs(cold)
    assert await stored(cold) == {pack.key, pack.words_key}


async def test_words_are_known_to_a_manifest_that_comes_back_from_the_bucket(cold: Cold) -> None:
    await cold.tier.store_payloads(b"alpha")
    await cold.roll()
    before = await packs(cold)
    await cold.kv.delete(cold_key(cold.shard))
    cold.epoch = 0
    await cold.roller()
    assert await packs(cold) == before
    assert before[0].words > 0
