"""A LogReader over a list in memory, the plainest answer to what the port asks, and requests of logs."""

from __future__ import annotations

from collections.abc import Sequence

from tael.errors import TooLarge
from tael.logql.records import text_of
from tael.model.log import LogRecord
from tael.model.span import Resource, Scope
from tael.model.tenant import DEFAULT_TENANT
from tael.model.time import signed_ns
from tael.otlp.matches import log_test
from tael.storage.api import Answer, LogCount, LogCounts, LogCursor, LogQuery
from tael.storage.merge import log_order


class MemoryLogs:
    """See LogReader: every record in a list, of the default tenant."""

    def __init__(self, records: Sequence[LogRecord] = ()) -> None:
        self.records = list(records)

    async def find_logs(self, tenant: str, query: LogQuery) -> Answer[list[LogRecord]]:
        """See LogReader."""
        found = [record for record in self.records if tenant == DEFAULT_TENANT and _matches(record, query)]
        return Answer(sorted(found, key=log_order(query))[: query.limit])

    async def count_logs(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogCount]]:
        """See LogReader; each record is a row, and bodies have the size of their text."""
        query = LogQuery(counts.time_range, counts.predicate)
        found = [record for record in self.records if tenant == DEFAULT_TENANT and _matches(record, query)]
        start, slot = counts.time_range.start_ns, counts.slot_ns
        if len(found) > max_rows:
            raise TooLarge(f"more than {max_rows}")
        return Answer(
            [
                LogCount(
                    tuple(_value(record, key) for key in counts.keys),
                    (record.timestamp_ns - start) // slot if slot else 0,
                    1,
                    len(text_of(record.body).encode()),
                )
                for record in found
            ]
        )


def _at(after: LogCursor) -> LogRecord:
    return LogRecord(after.timestamp_ns, 0, Resource(), Scope(), serial=after.serial)


def _value(record: LogRecord, key: str) -> str:
    if key == "severity_text":
        return record.severity_text
    value = record.service if key == "service.name" else record.resource.attributes.get(key, "")
    return text_of(value) if isinstance(value, str | int) else ""


def _matches(record: LogRecord, query: LogQuery) -> bool:
    after = query.after
    return (
        query.time_range.start_ns <= signed_ns(record.timestamp_ns) < query.time_range.end_ns
        and log_test(query.predicate)(record)
        and (after is None or log_order(query)(record) > log_order(query)(_at(after)))
    )
