"""The SELECT that turns one decoded ``WalBatch`` of logs into rows of ``logs``, as flatten.py does for spans.

``body_type`` is the member of AnyValue that is set, and ``body`` its value: strings and bytes unchanged, booleans, integers and doubles as
text that parses back to the same value, and arrays and maps in protobuf's encoding, which contains strings unchanged, so that they can be
searched too.
"""

from __future__ import annotations

from collections.abc import Iterable

from tael.model import log
from tael.model.streams import PUSHED_SCOPE
from tael.storage.clickhouse import streams
from tael.storage.clickhouse.flatten import (
    RESOURCE_COLUMNS,
    SCOPE_COLUMNS,
    instant,
    select,
    typed_maps,
    unfolded,
)

LANDING_TABLE = "logs_in_4"

_BODY = (
    "multiIf(lr.body.value = 'string_value', lr.body.string_value, lr.body.value = 'array_value', lr.body.array_value, "
    "lr.body.value = 'kvlist_value', lr.body.kvlist_value, lr.body.value = 'bytes_value', lr.body.bytes_value, "
    "lr.body.value = 'int_value', toString(lr.body.int_value), lr.body.value = 'double_value', toString(lr.body.double_value), "
    "lr.body.value = 'bool_value', if(lr.body.bool_value, 'true', 'false'), '')"
)


_RESOURCE = "CAST(resource_string, 'Map(String, String)')"
_PUSHED = f"arrayAll(name -> name = '{PUSHED_SCOPE}', rs.scope_logs.scope.name)"
"""Whether a resource came by Loki's push. Its records have that scope; where other scopes are beside it, somebody's SDK uses the name."""


def logs_select(source: str) -> str:
    """The rows of ``logs`` from the landing table ``source``; the stream and its labels are computed once for each resource."""
    service = "toString(resource_service)"
    return _logs_select(
        source,
        stream=streams.stream_id("tenant", _RESOURCE, service, _PUSHED),
        stream_labels=f"CAST({streams.labels(_RESOURCE, service, _PUSHED)}, '{streams.LABELS_TYPE}')",
    )


def logs_select_1(source: str) -> str:
    """The same for the first landing table, which is older than streams: there the table ``logs`` computes a record's stream."""
    return _logs_select(source)


def _logs_select(source: str, **shared_by_resource: str) -> str:
    records = unfolded(source, "resource_logs", "scope_logs", "log_records", "lr", **shared_by_resource)
    columns = [f"{text} AS {name}" for name, text in _log_columns()]
    return select([*columns, *shared_by_resource, *RESOURCE_COLUMNS, *SCOPE_COLUMNS], records)


def _log_columns() -> list[tuple[str, str]]:
    return [
        ("tenant", "batch_tenant"),
        ("service", "resource_service"),
        ("timestamp", instant(_first_set("lr.time_unix_nano", "lr.observed_time_unix_nano", "batch_received_at"))),
        ("serial", "rand64()"),
        ("observed_timestamp", instant("lr.observed_time_unix_nano")),
        ("trace_id", _id("lr.trace_id", 16)),
        ("span_id", _id("lr.span_id", 8)),
        ("severity_number", "lr.severity_number"),
        ("severity_text", "lr.severity_text"),
        ("event_name", "lr.event_name"),
        ("body", _BODY),
        ("body_type", "toInt8(lr.body.value)"),
        *((f"attributes_{name}", text) for name, text in typed_maps("lr.attributes")),
        ("dropped_attributes_count", "lr.dropped_attributes_count"),
        ("flags", "lr.flags"),
        ("level", _level()),
        ("received_at", instant("batch_received_at")),
    ]


def _first_set(*times: str) -> str:
    *first, last = times
    return f"multiIf({', '.join(f'{time} != 0, {time}' for time in first)}, {last})"


def _id(value: str, size: int) -> str:
    """SQL for an id; one of the wrong length counts as absent, as OTLP specifies for logs."""
    return f"toFixedString(if(length({value}) = {size}, {value}, ''), {size})"


def _level() -> str:
    """SQL for tael.model.log.detect_level; the branches after the severity number are evaluated only for records without one."""
    number = f"intDiv(lr.severity_number - 1, {log.SEVERITIES_PER_LEVEL}) + 1"
    attributes = [f"attributes_string['{key}']" for key in log.LEVEL_KEYS]
    words = "|".join(sorted(log.LEVEL_WORDS, key=len, reverse=True))
    in_body = f"if(lr.body.value = 'string_value', extract(substring(lr.body.string_value, 1, {log.LEVEL_BODY_BYTES}), '(?i)\\\\b({words})\\\\b'), '')"
    branches = [f"lr.severity_number BETWEEN 1 AND {log.MAX_SEVERITY}, {number}"]
    branches += [f"{_level_of(text)} != 0, {_level_of(text)}" for text in ("lr.severity_text", *attributes)]
    return f"toInt8(multiIf({', '.join(branches)}, {_level_of(in_body)}))"


def _level_of(text: str) -> str:
    return (
        f"transform(lower({text}), [{_listed(repr(word) for word in log.LEVEL_WORDS)}], [{_listed(map(str, log.LEVEL_WORDS.values()))}], 0)"
    )


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items)
