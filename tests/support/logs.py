"""A LogReader over a list in memory, the plainest answer to what the port asks, and requests of logs."""

from __future__ import annotations

from collections.abc import Sequence

from tael.model.log import LogRecord
from tael.model.tenant import DEFAULT_TENANT
from tael.storage.api import Answer, LogQuery
from tael.storage.merge import newest_log_first, signed_ns


class MemoryLogs:
    """See LogReader: every record in a list, of the default tenant; filters by all but attributes."""

    def __init__(self, records: Sequence[LogRecord] = ()) -> None:
        self.records = list(records)

    async def find_logs(self, tenant: str, query: LogQuery) -> Answer[list[LogRecord]]:
        """See LogReader."""
        assert not query.attributes
        found = [record for record in self.records if tenant == DEFAULT_TENANT and _matches(record, query)]
        return Answer(sorted(found, key=newest_log_first)[: query.limit])


def _matches(record: LogRecord, query: LogQuery) -> bool:
    body, after = str(record.body).lower(), query.after
    return all(
        (
            query.time_range.start_ns <= signed_ns(record.timestamp_ns) < query.time_range.end_ns,
            not query.service or record.service == query.service,
            query.level is None or record.level == query.level,
            query.min_level is None or record.level >= query.min_level,
            query.body_contains.lower() in body,
            set(query.words.lower().split()) <= set(body.split()),
            not query.trace_id or record.trace_id == query.trace_id,
            not query.span_id or record.span_id == query.span_id,
            after is None or newest_log_first(record) > (-signed_ns(after.timestamp_ns), after.serial),
        )
    )
