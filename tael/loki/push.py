"""Translates a push request to an OTLP logs request (docs/formats.md, "Loki's push").

    JSON       {"streams": [{"stream": {"job": "api"}, "values": [["<ns>", "line", {"name": "value"}], …]}, …]}
    protobuf   proto/loki_push.proto, in a block of snappy

A stream's labels become attributes of the resource, an entry's structured metadata attributes of the log record. Malformed streams and
entries are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs

from tael.errors import Rejected
from tael.loki.labels import name_of, parse_labels
from tael.model.json_text import encodable
from tael.model.streams import INDEX_LABELS, PUSHED_SCOPE
from tael.otlp.census import count_fields, tree
from tael.otlp.json import load_json, weigh_json
from tael.otlp.translated import Translated
from tael.pb.loki_push_pb2 import Entry, Push

UNKNOWN_SERVICE = "unknown_service"
_SERVICE_LABELS = (
    *("service_name", "service", "app", "application", "app_name", "name", "app_kubernetes_io_name", "container"),
    *("container_name", "k8s_container_name", "component", "workload", "job", "k8s_job_name"),
)
_LEVEL_LABELS = ("level", "detected_level", "severity", "lvl", "severity_text")
_TRACE_ID, _SPAN_ID = ("trace_id", 16), ("span_id", 8)
_IDS = {"trace_id": _TRACE_ID, "traceid": _TRACE_ID, "span_id": _SPAN_ID, "spanid": _SPAN_ID}
_TREE = tree(Push, 2)
_MAX_TIME_NS = (1 << 63) - 1
_MAX_DIGITS = 40
Labels: TypeAlias = "Mapping[str, str]"
Pushed: TypeAlias = "Translated[ExportLogsServiceRequest]"


def read_protobuf(body: bytes, most: int) -> Pushed:
    """Translate a push request in protobuf, already decompressed; ``most`` limits its content. Raises Rejected or TooLarge."""
    count_fields(body, _TREE, most)
    try:
        message = Push.FromString(body)
    except DecodeError as error:
        raise Rejected("the body is not a valid logproto.PushRequest", where="body", accepted="Loki's push request") from error
    pushed = Translated(ExportLogsServiceRequest())
    for stream in message.streams:
        with pushed.tolerating():
            records, level = _stream(pushed, parse_labels(_text(stream.labels)))
            for entry in stream.entries:
                with pushed.tolerating():
                    _add_entry(records, level, entry)
    return pushed


def _add_entry(records: ScopeLogs, level: str, entry: Entry) -> None:
    time_ns = entry.timestamp.seconds * 10**9 + entry.timestamp.nanos
    _add(records, level, time_ns, _text(entry.line), {_text(pair.name): _text(pair.value) for pair in entry.structured_metadata})


def read_json(body: bytes, most: int) -> Pushed:
    """Translate a push request in JSON; ``most`` limits its content. Raises Rejected or TooLarge."""
    weigh_json(body, most)
    value = load_json(body)
    streams = value.get("streams") if isinstance(value, dict) else None
    if not isinstance(streams, list):
        raise Rejected("no list of streams", where="body", accepted='{"streams": [{"stream": {…}, "values": [[…], …]}, …]}')
    pushed = Translated(ExportLogsServiceRequest())
    for stream in streams:
        with pushed.tolerating():
            records, level = _stream(pushed, _texts(stream.get("stream", {}) if isinstance(stream, dict) else None, "stream"))
            values = stream.get("values")
            if not isinstance(values, list):
                raise Rejected("not a list", where="values", accepted='[["<ns>", "<line>"], …]')
            for entry in values:
                with pushed.tolerating():
                    _add_values(records, level, entry)
    return pushed


def _add_values(records: ScopeLogs, level: str, entry: Any) -> None:
    if not isinstance(entry, list) or not 2 <= len(entry) <= 3 or not all(isinstance(text, str) for text in entry[:2]):
        raise Rejected("malformed entry", where="values", accepted='["<ns>", "<line>"], and perhaps {"name": "value", …}')
    # int() raises ValueError for thousands of digits, which tolerating() does not catch.
    if not entry[0].isdecimal() or len(entry[0]) > _MAX_DIGITS:
        raise _no_time()
    _add(records, level, int(entry[0]), entry[1], _texts(entry[2], "values") if len(entry) > 2 else {})


def _texts(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise Rejected("not an object of strings", where=where, accepted='{"name": "value", …}')
    return value


def _stream(pushed: Pushed, labels: Labels) -> tuple[ScopeLogs, str]:
    """The scope for a stream's records, added to the request, and the level in the stream's labels. Raises Rejected."""
    # Renamed here, and not only where they are shown: a stream is found by the names under which its labels are stored.
    labels = {name_of(name): value for name, value in labels.items()}
    group = pushed.request.resource_logs.add()
    service = next((labels[name] for name in _SERVICE_LABELS if labels.get(name)), UNKNOWN_SERVICE)
    # Under the names that OTLP has for them, so that storage knows the stream by them.
    others = {INDEX_LABELS.get(name, name): value for name, value in labels.items() if value and name != "service_name"}
    group.resource.attributes.extend(_pairs({"service.name": service, **others}))
    records = group.scope_logs.add()
    records.scope.name = PUSHED_SCOPE
    return records, _level_of(labels)


def _add(records: ScopeLogs, level: str, time_ns: int, text: str, metadata: Labels) -> None:
    if not 0 < time_ns <= _MAX_TIME_NS:
        raise _no_time()
    record = records.log_records.add(time_unix_nano=time_ns, severity_text=level or _level_of(metadata))
    record.body.string_value = encodable(text)
    record.attributes.extend(_pairs(_without_ids(record, metadata)))


def _without_ids(record: LogRecord, metadata: Labels) -> Labels:
    """The structured metadata without trace and span ids, which are moved to the record's own fields."""
    kept = dict(metadata)
    for name, value in metadata.items():
        field, size = _IDS.get(name.lower(), ("", 0))
        if size and len(value) == 2 * size and (raw := _unhexed(value)):
            setattr(record, field, raw)
            del kept[name]
    return kept


def _level_of(labels: Labels) -> str:
    return encodable(next((labels[name] for name in _LEVEL_LABELS if name in labels), ""))


def _pairs(attributes: Labels) -> Iterator[KeyValue]:
    return (KeyValue(key=encodable(key), value=AnyValue(string_value=encodable(value))) for key, value in attributes.items())


def _unhexed(text: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return b""
    return raw if any(raw) else b""


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _no_time() -> Rejected:
    return Rejected("an entry has no timestamp after 1970", where="values", accepted="nanoseconds since the epoch")
