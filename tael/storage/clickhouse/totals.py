"""TotalsReader of one shard: the last samples and histograms of given series, from few columns of few granules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from tael.model.series import STALE_BITS
from tael.pb.metrics_pb2 import Histogram
from tael.storage.api import TOTAL_BETWEEN, Total
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.conditions import Statement

SERIES_AT_ONCE: Final = 5_000
_HISTOGRAM_COLUMNS: Final = (
    *("schema", "count", "sum", "zero_threshold", "zero_count"),
    *("positive_index", "positive_counts", "negative_index", "negative_counts"),
)
# FINAL: a total that includes a late increment has the same time as the total that it replaces.
_LAST: Final = """SELECT series, any(metric), toUnixTimestamp64Milli(max(ts)), argMax(batch, ts), argMax(tuple({columns}), ts)
FROM {table} FINAL
WHERE tenant = {{tenant:String}} AND metric IN ({metrics}) AND series IN ({series})
  AND ts >= fromUnixTimestamp64Milli({{since:Int64}}, 'UTC') AND reinterpretAsUInt64({value}) != {stale} AND batch != {between}
GROUP BY series"""


class ClickHouseTotals:
    """See TotalsReader."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def last_samples(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, Total[float]]:
        """See TotalsReader."""
        found = self._last("samples", "value", ("value",), tenant, series, since_ms)
        return {number: Total(time_ms, columns[0], batch) async for number, _, time_ms, batch, columns in found}

    async def last_histograms(self, tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Mapping[int, Total[Histogram]]:
        """See TotalsReader."""
        return {
            number: Total(
                time_ms,
                Histogram(metric=metric, series=number, time_ms=time_ms, **dict(zip(_HISTOGRAM_COLUMNS, columns, strict=True))),
                batch,
            )
            async for number, metric, time_ms, batch, columns in self._last(
                "histograms", "sum", _HISTOGRAM_COLUMNS, tenant, series, since_ms
            )
        }

    async def _last(
        self, table: str, value: str, columns: Sequence[str], tenant: str, series: Sequence[tuple[int, int]], since_ms: int
    ) -> AsyncIterator[Sequence[Any]]:
        for start in range(0, len(series), SERIES_AT_ONCE):
            part = series[start : start + SERIES_AT_ONCE]
            statement = last(f"{self._clickhouse.database}.{table}", value, columns, tenant, part, since_ms)
            for row in await self._clickhouse.query(statement.sql, statement.parameters):
                yield row


def last(table: str, value: str, columns: Sequence[str], tenant: str, series: Sequence[tuple[int, int]], since_ms: int) -> Statement:
    """Series, metric, time, batch and columns of the last row of each series; ``value`` is the column that holds stale markers.

    It reads only the hot table: the writer adds to totals that it wrote a short while ago.
    """
    sql = _LAST.format(
        table=table,
        columns=", ".join(columns),
        metrics=", ".join(str(metric) for metric in sorted({metric for metric, _ in series})),
        series=", ".join(str(number) for _, number in series),
        value=value,
        stale=STALE_BITS,
        between=TOTAL_BETWEEN,
    )
    return Statement(sql, {"tenant": tenant, "since": max(0, since_ms)})
