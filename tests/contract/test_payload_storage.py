"""Payloads in every tier: whole, once, by tenant, however they were cut and by whomever they were sent."""

from __future__ import annotations

import hashlib

from tael.model.signals import PAYLOADS
from tael.model.time import HOUR_NS, NS_PER_SECOND, TimeRange
from tael.wal.payloads import Wanted, bodies
from tests.support.storage import RECEIVED_NS, START_NS, HotTier

NEARBY = TimeRange(START_NS, START_NS + 60 * NS_PER_SECOND)
LATER = TimeRange(START_NS + HOUR_NS, START_NS + HOUR_NS + 1)
OTHER_HOUR = TimeRange(START_NS + 7_200 * NS_PER_SECOND, START_NS + 7_260 * NS_PER_SECOND)


async def test_contents_come_back_whole_wherever_they_were_cut(any_tier: HotTier) -> None:
    """Two receivers that cut one payload in other places, and one that sends it again, leave one payload."""
    text, binary, empty = b"the quick brown fox " * 5_000, bytes(range(256)) * 700, b""
    hashes = await any_tier.store_payloads(text, binary, empty, max_body_bytes=30_000)
    await any_tier.store_payloads(text, binary, max_body_bytes=70_000, shard=len(any_tier.clickhouses) - 1)
    found = await any_tier.payloads.get_payloads("t1", hashes)
    assert found.value == dict(zip(hashes, (text, binary, empty), strict=True))
    assert (await any_tier.payloads.get_payloads("t1", hashes, NEARBY)).value == found.value
    assert (await any_tier.payloads.get_payloads("t1", hashes, OTHER_HOUR)).value == {}


async def test_a_payload_is_its_tenants_alone(any_tier: HotTier) -> None:
    (sha256,) = await any_tier.store_payloads(b"a secret", tenant="bank")
    assert (await any_tier.payloads.get_payloads("shop", [sha256])).value == {}
    assert (await any_tier.payloads.get_payloads("bank", [sha256])).value == {sha256: b"a secret"}


async def test_a_payload_that_lacks_a_piece_is_not_found(any_tier: HotTier) -> None:
    """What a reader gets is the content or nothing."""
    content = b"x" * 50_000
    sha256 = hashlib.sha256(content).digest()
    for body in [*bodies("t1", 0, [Wanted(START_NS // HOUR_NS * 3_600, sha256, content)], RECEIVED_NS, 20_000)][:2]:
        await any_tier.writers[0].write(PAYLOADS, body.body, body.dedup_id)
    await any_tier.roll(0)
    assert (await any_tier.payloads.get_payloads("t1", [sha256])).value == {}


async def test_a_payload_is_assembled_from_pieces_of_several_hours(any_tier: HotTier) -> None:
    """As when a piece could not be written; what is whole in its last hour is read there."""
    content = b"y" * 50_000
    sha256, hour = hashlib.sha256(content).digest(), START_NS // HOUR_NS * 3_600
    for at, pieces in ((hour, 3), (hour + 3_600, 1)):
        for body in [*bodies("t1", 0, [Wanted(at, sha256, content)], RECEIVED_NS, 20_000)][:pieces]:
            await any_tier.writers[0].write(PAYLOADS, body.body, body.dedup_id)
    await any_tier.roll(0)
    assert (await any_tier.payloads.get_payloads("t1", [sha256])).value == {sha256: content}
    assert (await any_tier.payloads.get_payloads("t1", [sha256], NEARBY)).value == {sha256: content}
    assert (await any_tier.payloads.get_payloads("t1", [sha256], LATER)).value == {}
