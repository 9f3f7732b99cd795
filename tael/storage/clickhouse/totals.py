"""TotalsReader of one shard: the last samples and histograms of some series, few columns of few granules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from tael.model.series import STALE_BITS
from tael.pb.metrics_pb2 import Histogram
from tael.storage.clickhouse.client import ClickHouse, Row

SERIES_AT_ONCE: Final = 5_000
_NUMBERS = ("schema", "count", "sum", "zero_threshold", "zero_count")
_LISTS = ("positive_index", "positive_counts", "negative_index", "negative_counts")
_WHERE = """WHERE tenant = {{tenant:String}} AND metric IN ({metrics}) AND series IN ({series})
  AND ts >= fromUnixTimestamp64Milli({{since:Int64}}, 'UTC') AND reinterpretAsUInt64({value}) != {stale}
GROUP BY series"""
_SAMPLES = "SELECT series, toUnixTimestamp64Milli(max(ts)), argMax(value, ts)\nFROM {database}.samples\n" + _WHERE
_HISTOGRAMS = (
    "SELECT series, any(metric), toUnixTimestamp64Milli(max(ts)), argMax(tuple({columns}), ts)\nFROM {database}.histograms\n" + _WHERE
)


class ClickHouseTotals:
    """See TotalsReader."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def last_samples(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, tuple[int, float]]:
        """See TotalsReader."""
        return {row[0]: (row[1], row[2]) async for row in self._rows(_SAMPLES, "value", tenant, series, since_ms)}

    async def last_histograms(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Sequence[Histogram]:
        """See TotalsReader."""
        return [_histogram(row) async for row in self._rows(_HISTOGRAMS, "sum", tenant, series, since_ms)]

    async def _rows(self, sql: str, value: str, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> AsyncIterator[Row]:
        for start in range(0, len(series), SERIES_AT_ONCE):
            part = series[start : start + SERIES_AT_ONCE]
            statement = sql.format(
                database=self._clickhouse.database,
                columns=", ".join(_NUMBERS + _LISTS),
                metrics=", ".join(str(metric) for metric in sorted({metric for metric, _ in part})),
                series=", ".join(str(number) for _, number in part),
                value=value,
                stale=STALE_BITS,
            )
            for row in await self._clickhouse.query(statement, {"tenant": tenant, "since": max(0, since_ms)}):
                yield row


def _histogram(row: Sequence[Any]) -> Histogram:
    series, metric, time_ms, columns = row
    return Histogram(metric=metric, series=series, time_ms=time_ms, **dict(zip(_NUMBERS + _LISTS, columns, strict=True)))
