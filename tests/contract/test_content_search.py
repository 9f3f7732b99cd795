"""Words that most contents have, in packs: the newest spans are looked at by themselves, and answers do not show it (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tael.model.search import find_spans
from tael.model.span import Span
from tael.model.time import ALL_TIME
from tael.storage.api import Cursor, SpanQuery
from tael.storage.clickhouse import content_search, pack_words, query_builder
from tael.storage.clickhouse.pack_words import MOST_PARTS
from tests.contract.test_pack_words import say
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer
from tests.support.storage import HotTier, open_tier

COUNT = MOST_PARTS + 70
"""Contents with a common word, which are too many for a list of their places."""
CONTENTS = [b"common word %d %s" % (at, (b"third \xe4\xbd\xa0\xe5\xa5\xbd", b"", b"")[at % 3]) for at in range(COUNT)]


@pytest.fixture
async def tier(shared_hot_node: HotNode, object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HotTier]:
    """One shard with COUNT calls in packs, which pass for large ones."""
    monkeypatch.setattr(content_search, "LARGE", 0)
    async with open_tier([shared_hot_node], tiering="cold", deadline_seconds=60) as opened:
        opened.rolls = False
        await say(opened, *CONTENTS)
        yield opened


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that are built."""
    names: list[str] = []
    for module, name in ((query_builder, "find_keys"), (query_builder, "matching"), (pack_words, "find_statement")):
        real = getattr(module, name)

        def spy(*args: object, real: object = real, name: str = name, **options: object) -> object:
            names.append(name)
            return real(*args, **options)  # type: ignore[operator]  # a function of the module

        monkeypatch.setattr(module, name, spy)
    return names


async def pages(tier: HotTier, text: str, limit: int) -> list[list[Span]]:
    """All pages of a search."""
    found: list[list[Span]] = []
    after: Cursor | None = None
    while True:
        answer = await tier.reader.find_spans("t1", SpanQuery(ALL_TIME, find_spans(text=text), limit, after))
        assert answer.missing == ()
        found.append(answer.value)
        if len(answer.value) < limit:
            return found
        last = answer.value[-1]
        after = Cursor(last.start_ns, last.trace_id, last.span_id)


@pytest.mark.parametrize(
    ("text", "step"), [("common", 1), ("third common", 3), ("你好", 3), ("word 0", COUNT), ("common absent", COUNT + 1)]
)
async def test_pages_are_those_of_the_hot_tier(tier: HotTier, text: str, step: int) -> None:
    """Newest first, of any size, whether the word is in all contents, in some or in none."""
    newest = range(COUNT - 1, -1, -1)
    wanted = [at for at in newest if at % step == 0 and step <= COUNT]
    for limit in (7, 60, 1_000):
        found = await pages(tier, text, limit)
        starts = [span.start_ns for page in found for span in page]
        first = (await pages(tier, "common", 1_000))[0]
        assert starts == [first[COUNT - 1 - at].start_ns for at in wanted]


async def test_a_full_page_ends_the_search(tier: HotTier, built: list[str]) -> None:
    """After the hot tier: one look at the words, one page of candidates, and no other contents."""
    await pages(tier, "common", COUNT * 2)  # reads the manifest, after which a question is asked once
    built.clear()
    answer = await tier.reader.find_spans("t1", SpanQuery(ALL_TIME, find_spans(text="common"), limit=20))
    assert len(answer.value) == 20
    assert built == ["find_keys", "find_statement", "find_keys", "matching"]


async def test_copies_of_a_span_look_words_up_once(tier: HotTier, built: list[str]) -> None:
    """A page with spans that were sent twice reads their copies with the predicate again, and not the words."""
    await say(tier, *CONTENTS[:3])
    answer = await tier.reader.find_spans("t1", SpanQuery(ALL_TIME, find_spans(text="third"), limit=1_000))
    assert answer.missing == ()
    assert built.count("find_statement") <= len((await tier.cold.manifests.read(0)).files("payloads"))  # type: ignore[union-attr]  # it has one
