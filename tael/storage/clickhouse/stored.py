"""The items of a body that are in the hot tier already, pure: statements that count them and index their references, and the body without
them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.model.signals import LOGS, TRACES
from tael.model.time import signed_ns
from tael.pb.envelope_pb2 import Envelope
from tael.pb.wal_pb2 import WalBatch, WalRecord
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.references import log_references_select, span_references_select
from tael.storage.clickhouse.rows import text
from tael.wal import codec

Key: TypeAlias = tuple[str, int, int, str, str]
"""Tenant, time of arrival, time, and two texts that distinguish items of the same time."""
_TABLES: Final = {
    TRACES: ("spans", "start_time", "hex(trace_id), hex(span_id)"),
    LOGS: ("logs", "timestamp", "toString(severity_number), if(body_type = 'string', hex(MD5(body)), '')"),
}
"""The tables in which rows would be duplicated; the others keep one of several rows with the same key."""


def count_rows(database: str, signal: str, body: bytes) -> Statement | None:
    """The number of stored rows from the requests in ``body``, by key. None for a signal whose rows may be written twice."""
    if signal not in _TABLES:
        return None
    table, column, distinguishing = _TABLES[signal]
    where = _of_requests(signal, body)
    sql = (
        f"SELECT tenant, toUnixTimestamp64Nano(received_at), toUnixTimestamp64Nano({column}), {distinguishing}, count()"  # noqa: S608  # names of ours
        f" FROM {database}.{table} WHERE {where.sql} GROUP BY ALL"
    )
    return Statement(sql, where.parameters)


def index_references(database: str, signal: str, body: bytes) -> Statement | None:
    """Insert the references of the stored rows into the index of references. None for a signal without references."""
    if signal not in _TABLES:
        return None
    table, where = _TABLES[signal][0], _of_requests(signal, body)
    rows = f"(SELECT * FROM {database}.{table} WHERE {where.sql})"  # noqa: S608  # the same
    select = span_references_select(rows) if signal == TRACES else log_references_select(rows)
    return Statement(f"INSERT INTO {database}.payload_references {select}", where.parameters)


def _of_requests(signal: str, body: bytes) -> Statement:
    """The condition that a row came with a request of the body, or with another request of the same tenant and instant."""
    column = _TABLES[signal][1]
    keys = [key for record in codec.decode(body) for key in _keys(signal, record)]
    instants = [instant for _, _, instant, _, _ in keys]
    sql = (
        "tenant IN {tenants:Array(String)}"
        f" AND {column} BETWEEN fromUnixTimestamp64Nano({{first:Int64}}, 'UTC') AND fromUnixTimestamp64Nano({{last:Int64}}, 'UTC')"
        " AND toUnixTimestamp64Nano(received_at) IN {received:Array(Int64)}"
    )
    parameters = {
        "tenants": sorted({tenant for tenant, *_ in keys}),
        "first": min(instants, default=0),
        "last": max(instants, default=0),
        "received": sorted({received for _, received, *_ in keys}),
    }
    return Statement(sql, parameters)


def rest_of(signal: str, body: bytes, rows: Iterable[Sequence[Any]]) -> bytes:
    """The body without the items that ``rows`` counts; ``body`` itself when none of its items are stored.

    Rows are stored in the order of the body, so of several items with the same key, the first ones are those that are stored.
    """
    # Counted, not a set: equal log lines of one batch are several rows, of which only some may be stored.
    stored: Counter[Key] = Counter()
    for tenant, received, instant, first, second, count in rows:
        stored[text(tenant), int(received), int(instant), text(first), text(second)] += int(count)
    batch, left_out = WalBatch.FromString(body), 0
    for record in batch.records:
        keys, envelope = _keys(signal, record), Envelope.FromString(record.request)
        for resourced in envelope.resources:
            for scoped in resourced.scopes:
                items = [item for item in scoped.items if not _take(stored, next(keys))]
                left_out += len(scoped.items) - len(items)
                del scoped.items[:]
                scoped.items.extend(items)
        record.request = _without_empty(envelope).SerializeToString()
        record.items = sum(len(scoped.items) for resourced in envelope.resources for scoped in resourced.scopes)
    if not left_out:
        return body
    return WalBatch(records=[record for record in batch.records if record.items]).SerializeToString()


def _take(stored: Counter[Key], key: Key) -> bool:
    if not stored[key]:
        return False
    stored[key] -= 1
    return True


def _without_empty(envelope: Envelope) -> Envelope:
    for resourced in envelope.resources:
        scopes = [scoped for scoped in resourced.scopes if scoped.items]
        del resourced.scopes[:]
        resourced.scopes.extend(scopes)
    resources = [resourced for resourced in envelope.resources if resourced.scopes]
    del envelope.resources[:]
    envelope.resources.extend(resources)
    return envelope


def _keys(signal: str, record: WalRecord) -> Iterator[Key]:
    """The key of each item of a record's request, equal to that of its row."""
    received = signed_ns(record.received_at)
    for resourced in Envelope.FromString(record.request).resources:
        for scoped in resourced.scopes:
            for item in scoped.items:
                yield record.tenant, received, *(_of_span(item) if signal == TRACES else _of_log(item, record.received_at))


def _of_span(item: bytes) -> tuple[int, str, str]:
    span = Span.FromString(item)
    return signed_ns(span.start_time_unix_nano), span.trace_id.hex().upper(), span.span_id.hex().upper()


def _of_log(item: bytes, received_at_ns: int) -> tuple[int, str, str]:
    line = LogRecord.FromString(item)
    instant = signed_ns(line.time_unix_nano or line.observed_time_unix_nano or received_at_ns)
    # The digest that the statement computes of the column; a body that is not text has none and is identified by time and severity alone.
    digest = hashlib.md5(line.body.string_value.encode(), usedforsecurity=False).hexdigest().upper()
    return instant, str(line.severity_number), digest if line.body.HasField("string_value") else ""
