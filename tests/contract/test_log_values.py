"""Numbers and counts of lines of JSON and logfmt, which shards read, in each composition of shards and tiers."""

from __future__ import annotations

from typing import Any

import pytest

from services.query.logql.engine import LogqlEngine, LogqlOptions
from tael.errors import TooLarge
from tael.logql.parse import parse
from tael.storage.api import LogReader
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.merged import MergedLogs
from tael.vectors.values import Steps
from tests.support.storage import START_NS, HotTier, logs_of, wire_log

SECOND = 10**9
JSON_LINES = [
    '{"path":"/a","took":1.25,"n":"%d"}',
    '{"path":"/b","took":%d}',
    '{"path":"/a","took":"%dms"}',
    '{"path":"/b"}',
    "no JSON, %d",
]
LOGFMT_LINES = ["path=/a took=1.25 n=%d", 'msg="took=9 %d" path=/b took=%d', "path=/a took=%dms", "path=/b", 'msg="%d path=/a took=5']
QUERIES = [
    "quantile_over_time(0.7, {{{streams}}} | {parser} | unwrap took | __error__=`` [20s]) by (path)",
    "sum by (path) (sum_over_time({{{streams}}} | {parser} | took < 30 | unwrap took | __error__=`` [20s]))",
    "avg_over_time({{{streams}}} | {parser} | unwrap took | __error__=`` [20s]) by (service_name)",
    "max_over_time({{{streams}}} | {parser} | unwrap duration(took) | __error__=`` [20s]) by (path)",
    "stddev_over_time({{{streams}}} |= `path` | {parser} | path=`/b` | unwrap took | __error__=`` [20s]) by (path)",
    "sum by (path) (count_over_time({{{streams}}} | {parser} | path!=`/a` | __error__=`` [20s]))",
    "sum by (path, service_name) (bytes_over_time({{{streams}}} | {parser} | took > 5ms | __error__=`` [20s]))",
]
STEPS = Steps(START_NS + 20 * SECOND, START_NS + 60 * SECOND, 20 * SECOND)


def lines(parser: str) -> list[str]:
    """Of each kind in turn."""
    kinds = JSON_LINES if parser == "json" else LOGFMT_LINES
    return [kind.replace("%d", str(at)) for at in range(10) for kind in kinds]


@pytest.mark.parametrize("parser", ["json", "logfmt"])
async def test_numbers_are_those_of_the_lines(any_tier: HotTier, parser: str) -> None:
    """Whichever tier has them, and in parts where they are too many for one answer."""
    services = [logs_of(f"shop-{at}", *(wire_log(place * SECOND, line) for place, line in enumerate(lines(parser)))) for at in range(2)]
    await any_tier.store_logs(*services, tenant="t")
    small = MergedLogs(any_tier.gather(any_tier.shards(lambda clickhouse, source: ClickHouseLogs(clickhouse, source, 500))))
    parts = InParts(any_tier.logs, small)
    engines = [LogqlEngine(any_tier.logs, LogqlOptions()), LogqlEngine(parts, LogqlOptions())]
    row_wise = LogqlEngine(any_tier.logs, LogqlOptions(push=False))
    for query in QUERIES:
        expr: Any = parse(query.format(streams='service_name=~"shop-.*"', parser=parser))
        expected = shown((await row_wise.value("t", expr, STEPS)).value)
        assert expected
        for engine in engines:
            assert shown((await engine.value("t", expr, STEPS)).value) == expected, query
    assert parts.refused


async def test_lines_that_are_known_are_not_read(hot_tier: HotTier) -> None:
    """Only those that are no flat lines."""
    flat = [line for line in lines("json") if line.startswith("{") and "ms" not in line]
    await hot_tier.store_logs(logs_of("shop", *(wire_log(at * SECOND, line) for at, line in enumerate(flat))), tenant="t")
    engine = LogqlEngine(Unread(hot_tier.logs, hot_tier.logs), LogqlOptions())
    for query in (*QUERIES[:3], *QUERIES[4:6]):
        expr: Any = parse(query.format(streams='service_name="shop"', parser="json"))
        assert shown((await engine.value("t", expr, STEPS)).value)


class InParts:
    """A reader whose shards have little room for values."""

    def __init__(self, reader: LogReader, small: LogReader) -> None:
        self._reader, self._small = reader, small
        self.refused = 0

    async def read_values(self, tenant: str, counts: Any, max_rows: int) -> Any:
        try:
            return await self._small.read_values(tenant, counts, max_rows)
        except TooLarge:
            self.refused += 1
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class Unread(InParts):
    """A reader whose lines must not be read."""

    async def read_lines(self, *_: Any) -> Any:
        raise AssertionError("a line is read")


def shown(value: Any) -> Any:
    """Series by labels, with the samples that are present; the same to the last digit."""
    return {
        labels: [number if there else None for number, there in zip(numbers, present, strict=True)]
        for labels, numbers, present in zip(value.labels, value.values.tolist(), value.present.tolist(), strict=True)
    }
