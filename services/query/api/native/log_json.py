"""A log record as JSON, pure and without loss; values are encoded as in span_json.py.

``severity`` comes from the severity number, ``level`` is the detected level (docs/formats.md). ``body`` keeps its type.
"""

from __future__ import annotations

from services.query.api.native.span_json import Json, attributes_json, resource_json, rfc3339, scope_json, value_json
from tael.model.log import LEVELS, LogRecord, level_of_severity


def log_json(record: LogRecord) -> dict[str, Json]:
    """The record, with its resource and scope; missing ids and times are null."""
    return {
        "timestamp": rfc3339(record.timestamp_ns),
        "observed_timestamp": rfc3339(record.observed_ns) if record.observed_ns else None,
        "service": record.service,
        "severity": LEVELS[level_of_severity(record.severity_number)],
        "severity_number": record.severity_number,
        "severity_text": record.severity_text,
        "level": LEVELS[record.level],
        "body": value_json(record.body),
        "event_name": record.event_name,
        "trace_id": record.trace_id.hex() or None,
        "span_id": record.span_id.hex() or None,
        "flags": record.flags,
        "attributes": attributes_json(record.attributes),
        "dropped_attributes_count": record.dropped_attributes_count,
        "resource": resource_json(record.resource),
        "scope": scope_json(record.scope),
    }
