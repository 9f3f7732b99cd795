"""SQL for the streams of log records by the hour, from the table that is filled as records are written; pure."""

from __future__ import annotations

from tael.model.series import Selection
from tael.model.time import NS_PER_MS, TimeRange
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.labels import limited, matching
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.streams import stream_matchers


def list_streams(source: Source, tenant: str, selection: Selection, limit: int) -> Statement:
    """Labels, records and bytes of each stream, or of the first ``limit`` ones by labels unless that is 0."""
    range_ms = (selection.start_ms, selection.end_ms)
    where = matching(tenant, stream_matchers(selection.matchers), range_ms, {}, "labels['__name__']")
    held = source.rows("log_streams", tenant, TimeRange(selection.start_ms * NS_PER_MS, (selection.end_ms + 1) * NS_PER_MS))
    sql = f"SELECT any(labels) AS own, sum(records), sum(bytes)\nFROM {held}\nWHERE {where}\nGROUP BY stream"
    return Statement(sql + ("\nORDER BY mapSort(own)" + limited(where, limit) if limit else ""), where.parameters)
