"""A LogReader over a list in memory, as the simplest implementation of the port, and requests with log records."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np

from tael.errors import TooLarge
from tael.logql.records import Entry, entry, text_of
from tael.logql.stages.label_filter import condition
from tael.model.log import LogRecord
from tael.model.predicate import EVERYTHING, intrinsic, mentions
from tael.model.series import Selection
from tael.model.span import Resource, Scope
from tael.model.streams import LogStream
from tael.model.tenant import DEFAULT_TENANT
from tael.model.time import NS_PER_MS, TimeRange, signed_ns
from tael.otlp.matches import log_test
from tael.storage.api import Answer, LogCount, LogCounts, LogCursor, LogQuery, LogValues, TooManyGroups
from tael.storage.merge import add_streams, log_order


class MemoryLogs:
    """A LogReader over a list of log records of the default tenant."""

    def __init__(self, records: Sequence[LogRecord] = ()) -> None:
        self.records = list(records)

    async def find_logs(self, tenant: str, query: LogQuery) -> Answer[list[LogRecord]]:
        """See LogReader."""
        found = [record for record in self.records if tenant == DEFAULT_TENANT and _matches(record, query)]
        return Answer(sorted(found, key=log_order(query))[: query.limit])

    async def read_lines(self, tenant: str, query: LogQuery, names: Collection[str] | None = None) -> Answer[list[Entry]]:
        """See LogReader; metadata under other names is left out, so that a query shows whether it counts."""
        answer = await self.find_logs(tenant, query)
        found = list(map(entry, answer.value))
        if names is not None:
            found = [one._replace(metadata={name: value for name, value in one.metadata.items() if name in names}) for one in found]
        return Answer(found, answer.missing)

    async def count_logs(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogCount]]:
        """See LogReader; each record is a row of its own, and the size of a body is that of its text."""
        assert not mentions(counts.predicate, intrinsic("detected_level")), "such predicates match any level in memory"
        query = LogQuery(counts.time_range, counts.predicate, streams=counts.streams)
        found = [record for record in self.records if tenant == DEFAULT_TENANT and _matches(record, query)]
        if len(found) > max_rows:
            raise TooLarge(f"more than {max_rows}")
        start, slot = counts.time_range.start_ns, counts.slot_ns
        return Answer(
            [
                LogCount(
                    record.stream if counts.by_stream else (),
                    known := log_test(counts.known_if)(record),
                    entry(record).metadata["detected_level"] if counts.by_level else "",
                    (record.timestamp_ns - start) // slot if slot else 0,
                    1,
                    len(text_of(record.body).encode()) if counts.sizes else 0,
                    tuple(_found(pattern, text_of(record.body)) if known else "" for pattern in counts.texts),
                )
                for record in found
            ]
        )

    async def read_values(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogValues]]:
        """See LogReader; each record is a group of its own."""
        query = LogQuery(counts.time_range, counts.predicate, streams=counts.streams)
        found = []
        for record in self.records:
            if tenant == DEFAULT_TENANT and _matches(record, query):
                body, known = text_of(record.body), log_test(counts.known_if)(record)
                words = [word for word in (_found(counts.value, body),) if known and word]
                found.append(
                    LogValues(
                        record.stream if counts.by_stream else (),
                        known,
                        entry(record).metadata["detected_level"] if counts.by_level else "",
                        tuple(_found(pattern, body) if known else "" for pattern in counts.texts),
                        np.array([record.timestamp_ns] * len(words), np.int64),
                        np.array([record.serial] * len(words), np.uint64),
                        words,
                        np.zeros(len(words), np.int64),
                    )
                )
        if len(found) > max_rows:
            raise TooManyGroups(max_rows)
        return Answer(found)

    async def list_streams(self, tenant: str, selection: Selection, limit: int) -> Answer[list[LogStream]]:
        """See LogReader; counts are for the range only."""
        time_range = TimeRange(selection.start_ms * NS_PER_MS, (selection.end_ms + 1) * NS_PER_MS)
        counts = await self.count_logs(tenant, LogCounts(time_range, streams=selection.matchers, sizes=True), len(self.records))
        return Answer(add_streams([[LogStream(row.labels, row.records, row.bytes) for row in counts.value]], limit))


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _at(after: LogCursor) -> LogRecord:
    return LogRecord(after.timestamp_ns, 0, Resource(), Scope(), serial=after.serial)


def _matches(record: LogRecord, query: LogQuery) -> bool:
    after = query.after
    return (
        (not query.unknown or query.known_if != EVERYTHING)
        and not (query.known_if != EVERYTHING and log_test(query.known_if)(record))
        and query.time_range.start_ns <= signed_ns(record.timestamp_ns) < query.time_range.end_ns
        and log_test(query.predicate)(record)
        and _of_streams(record, query)
        and (after is None or log_order(query)(record) > log_order(query)(_at(after)))
    )


def _of_streams(record: LogRecord, query: LogQuery) -> bool:
    labels = dict(record.stream)
    return all(condition(matcher)(labels.get(matcher.name, "")) for matcher in query.streams)
