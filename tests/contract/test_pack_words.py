"""Searches for words in packs: each match is found, and a pack is opened only where it may have one (docs/adr/0031)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

import pytest

from tael.cold.files import ColdFile
from tael.errors import TooLarge
from tael.model.payload import Reference
from tael.model.predicate import words_of
from tael.model.search import find_spans
from tael.model.span import Span
from tael.model.time import ALL_TIME
from tael.objects import MinioObjectStore
from tael.storage.api import Answer, SpanQuery
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.pack_words import MOST_PARTS, STRUCTURE, crc
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer
from tests.support.storage import HotTier, new_trace_id, of_service, open_tier, wire_span

ODD = (
    b"Bl\xc3\xbccher said: \xe4\xbd\xa0\xe5\xa5\xbd, UPPER lower_CASE a.b.c 42",
    b"\xff\xfe broken\x80text \x00zero\x00 tail",
    b"",
    b"  ,.; ",
    b"one",
    b"9" * 300,
)
"""Contents whose words are not plain ones, of which there may be none."""


@pytest.fixture
async def tier(shared_hot_node: HotNode, object_server: ObjectServer) -> AsyncIterator[HotTier]:  # it has to run
    """One shard, whose rows stay hot until a test rolls them."""
    async with open_tier([shared_hot_node], tiering="cold", deadline_seconds=60) as opened:
        opened.rolls = False
        yield opened


async def say(tier: HotTier, *contents: bytes, roll: bool = True) -> None:
    """An LLM call for each content, which is a payload, and roll them."""
    hashes = await tier.store_payloads(*contents)
    calls = [
        wire_span(
            number * 1_000,
            trace_id=new_trace_id(),
            attributes={"gen_ai.operation.name": "chat", "gen_ai.prompt": str(Reference(sha256, len(content)))},
        )
        for number, (sha256, content) in enumerate(zip(hashes, contents, strict=True))
    ]
    await tier.store(of_service("shop", *calls))
    if roll:
        assert tier.cold is not None
        await tier.cold.roll()


async def found(tier: HotTier, text: str) -> Answer[list[Span]]:
    return await tier.reader.find_spans("t1", SpanQuery(ALL_TIME, find_spans(text=text), limit=1_000))


async def count(tier: HotTier, text: str) -> int:
    """How many spans a complete answer has."""
    answer = await found(tier, text)
    assert answer.missing == ()
    return len(answer.value)


async def packs(tier: HotTier) -> Sequence[ColdFile]:
    assert tier.cold is not None
    return (await tier.cold.manifests.read(0)).files("payloads")


async def test_a_word_is_found_as_in_the_hot_tier(tier: HotTier) -> None:
    """In any case, beside any byte, in part of the packs or in all of them, and as a whole word only."""
    contents = (*ODD, b"needle in a haystack", b"a seldom common word", *(b"common word %d" % number for number in range(MOST_PARTS + 40)))
    texts = (
        "needle",
        "NEEDLE haystack",
        "haystac",
        "common",
        "word 7",
        "needle common",
        "seldom common",
        "common seldom lower_case",
        "lower_case",
        "b",
        "broken",
        "zero",
        "tail",
        "42",
        "9" * 300,
    )
    await say(tier, *contents, roll=False)
    hot = {text: await count(tier, text) for text in texts}
    assert (hot["needle"], hot["haystac"], hot["common"], hot["needle common"]) == (1, 0, MOST_PARTS + 41, 0)
    assert tier.cold is not None
    await tier.cold.roll()
    assert {text: await count(tier, text) for text in texts} == hot
    assert all(file.words for file in await packs(tier))


async def test_the_object_has_every_word_of_every_content(tier: HotTier) -> None:
    await say(tier, *ODD)
    [pack] = await packs(tier)
    assert tier.cold is not None
    rows = await tier.clickhouses[0].query(
        f"SELECT word, parts FROM s3('{tier.cold.bucket_url}{pack.words_key}', 'Parquet', {STRUCTURE})", {}
    )
    held = {int(word): set(parts) for word, parts in rows}
    # A word with bytes that are no UTF-8 cannot be asked for.
    asked = {
        (crc(word), int.from_bytes(hashlib.sha256(content).digest()[:2]))
        for content in ODD
        for word in words_of(content.decode(errors="replace"))
        if "\ufffd" not in word
    }
    assert {word for word, _ in asked} <= held.keys()
    assert all(part in held[word] for word, part in asked)


async def test_a_pack_without_the_word_is_not_opened(tier: HotTier, objects: MinioObjectStore) -> None:
    """Shown by a pack that is gone: only who asks for one of its words misses it."""
    await say(tier, b"alpha beta", b"gamma")
    [pack] = await packs(tier)
    assert tier.cold is not None
    await objects.delete(tier.cold.prefix + pack.key)
    assert await count(tier, "delta") == 0
    assert (await found(tier, "alpha")).missing == (f"shard-0: {pack.key}",)


async def test_without_its_words_a_pack_is_read(tier: HotTier, objects: MinioObjectStore) -> None:
    """Where the object is gone or damaged, in silence: the answer is complete."""
    await say(tier, b"alpha beta", b"gamma")
    [pack] = await packs(tier)
    assert tier.cold is not None
    key = tier.cold.prefix + pack.words_key
    body = await objects.get(key)
    for broken in (None, body[: len(body) // 2]):
        if broken is None:
            await objects.delete(key)
        else:
            await objects.put(key, broken)
        assert [await count(tier, text) for text in ("alpha", "gamma", "delta")] == [1, 1, 0]


async def test_packs_of_an_older_release_are_read(tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside newer ones; a pack whose words cannot be written is one of them."""
    command = ClickHouse.command

    async def refused(self: ClickHouse, sql: str, *arguments: object) -> None:
        if ".words'" in sql:
            raise TooLarge("it takes more memory than a shard gives to one query")
        await command(self, sql, *arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(ClickHouse, "command", refused)
    await say(tier, b"alpha beta")
    monkeypatch.undo()
    await say(tier, b"alpha gamma")
    assert [file.words > 0 for file in await packs(tier)] == [False, True]
    assert [await count(tier, text) for text in ("alpha", "beta", "gamma", "delta")] == [2, 1, 1, 0]


async def test_packs_are_searched_and_read_beside_payloads_that_are_hot(tier: HotTier) -> None:
    """Their branch of the statement has constants where the hot table's has columns."""
    await say(tier, b"needle in the past")
    await say(tier, b"needle of today", roll=False)
    assert await count(tier, "needle") == 2
