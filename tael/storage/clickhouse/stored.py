"""Whether anything of a body is in the hot tier already, pure: the statement that finds out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.model.signals import LOGS, TRACES
from tael.pb.wal_pb2 import WalRecord
from tael.storage.clickhouse.conditions import Statement
from tael.wal import codec

_TABLES: Final = {TRACES: ("spans", "start_time"), LOGS: ("logs", "timestamp")}
"""The tables whose rows would be there twice; of the others' rows with one key, one remains."""


def any_row(database: str, signal: str, body: bytes) -> Statement | None:
    """A row of the requests in ``body``, if there is any: they are known by tenant and arrival. None where a row may well be written twice."""
    if signal not in _TABLES:
        return None
    table, column = _TABLES[signal]
    records = codec.decode(body)
    instants = sorted(instant for record in records for instant in _instants(signal, record))
    sql = (
        f"SELECT 1 FROM {database}.{table} WHERE tenant IN {{tenants:Array(String)}}"  # noqa: S608  # names of ours
        f" AND {column} BETWEEN fromUnixTimestamp64Nano({{first:Int64}}, 'UTC') AND fromUnixTimestamp64Nano({{last:Int64}}, 'UTC')"
        " AND toUnixTimestamp64Nano(received_at) IN {received:Array(Int64)} LIMIT 1"
    )
    parameters = {
        "tenants": sorted({record.tenant for record in records}),
        "first": instants[0] if instants else 0,
        "last": instants[-1] if instants else 0,
        "received": sorted({_signed(record.received_at) for record in records}),
    }
    return Statement(sql, parameters)


def _instants(signal: str, record: WalRecord) -> Iterator[int]:
    """When each item of a record's request is stored, as the flattening has it."""
    if signal == TRACES:
        for group in ExportTraceServiceRequest.FromString(record.request).resource_spans:
            for scoped in group.scope_spans:
                yield from (_signed(span.start_time_unix_nano) for span in scoped.spans)
        return
    for logs in ExportLogsServiceRequest.FromString(record.request).resource_logs:
        for lines in logs.scope_logs:
            for line in lines.log_records:
                yield _signed(line.time_unix_nano or line.observed_time_unix_nano or record.received_at)


def _signed(unsigned: int) -> int:
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned
