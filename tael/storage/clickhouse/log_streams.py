"""LogStreamReader of one shard, and the SQL that it asks."""

from __future__ import annotations

from typing import Any

from tael.model.series import Selection
from tael.model.streams import INDEX_LABELS, LogStream
from tael.model.time import NS_PER_MS, TimeRange
from tael.storage.api import Answer
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.labels import Where, limited, matching
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.clickhouse.streams import label_of, labels_held, stream_matchers


class ClickHouseLogStreams:
    """See LogStreamReader."""

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)

    async def list_streams(self, tenant: str, selection: Selection, limit: int) -> Answer[list[LogStream]]:
        """See LogStreamReader."""
        statement = list_streams(self._source, tenant, selection, limit)
        rows = await self._clickhouse.query(statement.sql, statement.parameters)
        found = [LogStream(labels_held(held), int(count), int(size)) for held, count, size in rows]
        return Answer(sorted(found, key=lambda stream: stream.labels))

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See LogStreamReader."""
        found = await self._texts(label_names(self._source, tenant, selection))
        names = sorted(label_of(name) for name in found.value)
        return Answer(names[:limit] if limit else names)

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See LogStreamReader."""
        return await self._texts(label_values(self._source, tenant, name, selection, limit))

    async def _texts(self, statement: Statement) -> Answer[list[str]]:
        return Answer([text(value) for (value,) in await self._clickhouse.query(statement.sql, statement.parameters)])


def list_streams(source: Source, tenant: str, selection: Selection, limit: int) -> Statement:
    """Labels, records and bytes of each stream; of the first ones by labels where there is a limit."""
    where = _matching(tenant, selection)
    sql = f"SELECT any(labels) AS own, sum(records), sum(bytes)\nFROM {_held(source, tenant, selection)}\nWHERE {where}\nGROUP BY stream"
    return Statement(sql + ("\nORDER BY mapSort(own)" + limited(where, limit) if limit else ""), where.parameters)


def label_names(source: Source, tenant: str, selection: Selection) -> Statement:
    """The attributes behind the labels."""
    return _distinct(_held(source, tenant, selection), _matching(tenant, selection), "arrayJoin(mapKeys(labels))", 0)


def label_values(source: Source, tenant: str, name: str, selection: Selection, limit: int) -> Statement:
    """Values of a label, ordered."""
    return _distinct(
        _held(source, tenant, selection), _matching(tenant, selection, label=INDEX_LABELS.get(name, name)), "labels[{label:String}]", limit
    )


def _distinct(held: str, where: Where, what: str, limit: int) -> Statement:
    sql = f"SELECT DISTINCT {what} AS found\nFROM {held}\nWHERE {where} AND found != ''\nORDER BY found"
    return Statement(sql + limited(where, limit), where.parameters)


def _matching(tenant: str, selection: Selection, **parameters: Any) -> Where:
    range_ms = (selection.start_ms, selection.end_ms)
    return matching(tenant, stream_matchers(selection.matchers), range_ms, parameters, "labels['__name__']")


def _held(source: Source, tenant: str, selection: Selection) -> str:
    return source.rows("log_streams", tenant, TimeRange(selection.start_ms * NS_PER_MS, (selection.end_ms + 1) * NS_PER_MS))
