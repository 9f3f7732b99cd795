"""Lines read page by page (services/query/logql/lines.py) from every composition of the hot tier: each once, in order, however long they
are.
"""

from __future__ import annotations

from contextlib import aclosing
from itertools import product

import pytest

from services.query.logql.lines import Pages
from tael.errors import TooLarge
from tael.logql.records import Entry, entry
from tael.model.series import Matcher
from tael.model.time import TimeRange
from tael.storage.api import LogQuery, LogReader
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.merged import MergedLogs
from tests.support.storage import START_NS, HotTier, logs_of, new_trace_id, wire_log

AROUND = TimeRange(START_NS - 1, START_NS + 3_600 * 10**9)
OF_CART, OF_ANY = (Matcher("service_name", "=", "cart"),), (Matcher("service_name", "=~", ".+"),)


async def store(tier: HotTier, body: str = "line") -> None:
    """Forty records of two services, four at each instant."""
    for service in ("cart", "shop"):
        made = [wire_log(place // 4 * 1000, f"{body} {place}", trace_id=new_trace_id(), attributes={"n": place}) for place in range(40)]
        await tier.store_logs(logs_of(service, *made))


async def read(logs: LogReader, query: LogQuery, first: int) -> list[list[Entry]]:
    """All pages."""
    async with aclosing(Pages(logs, "t1", query).read(first)) as pages:
        return [page async for page in pages]


def of_pages(tier: HotTier, page_bytes: int) -> LogReader:
    """The logs of the tier, read in pages of so many bytes a shard."""
    return MergedLogs(tier.gather(tier.shards(lambda clickhouse, source: ClickHouseLogs(clickhouse, source, page_bytes))))


async def test_pages_neither_repeat_nor_skip(any_tier: HotTier) -> None:
    await store(any_tier)
    for streams, oldest_first in product((OF_CART, OF_ANY), (True, False)):
        query = LogQuery(AROUND, streams=streams, oldest_first=oldest_first)
        records = (await any_tier.logs.find_logs("t1", LogQuery(AROUND, limit=100, streams=streams, oldest_first=oldest_first))).value
        for first in (1, 3, 200, 2_000):
            pages = await read(any_tier.logs, query, first)
            assert [line for page in pages for line in page] == list(map(entry, records)), (query, first)
            assert len(pages[0]) == min(first, len(records)), (query, first)


async def test_long_lines_make_short_pages(hot_tier: HotTier) -> None:
    """A line that does not fit at all is an error that says so."""
    await store(hot_tier, "long" * 500)
    pages = await read(of_pages(hot_tier, 30_000), LogQuery(AROUND, streams=OF_CART), 100)
    assert sum(map(len, pages)) == 40
    assert len(pages) > 2
    with pytest.raises(TooLarge):
        await read(of_pages(hot_tier, 1_000), LogQuery(AROUND, streams=OF_CART), 100)
