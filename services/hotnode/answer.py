"""The headers of an answer: media types by format, and ``X-ClickHouse-Summary`` with the statement's counts and duration."""

from __future__ import annotations

import json
from typing import Final

from services.hotnode.engine import Stats

_MEDIA_TYPES: Final = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONStrings": "application/json; charset=UTF-8",
    "JSONCompactStrings": "application/json; charset=UTF-8",
    "JSONColumns": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONLines": "application/x-ndjson; charset=UTF-8",
    "NDJSON": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONStringsEachRow": "application/x-ndjson; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
    "Markdown": "text/markdown; charset=UTF-8",
    "Values": "text/plain; charset=UTF-8",
    "Vertical": "text/plain; charset=UTF-8",
    "Null": "text/plain; charset=UTF-8",
    "Native": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "ORC": "application/octet-stream",
    "Avro": "application/octet-stream",
    "Protobuf": "application/octet-stream",
    "ProtobufSingle": "application/octet-stream",
    "MsgPack": "application/octet-stream",
}


def media_type(output_format: str) -> str:
    """The Content-Type that a ClickHouse server sends for this format."""
    known = _MEDIA_TYPES.get(output_format)
    if known is not None:
        return known
    if output_format.startswith(("TSV", "TabSeparated")):
        return _MEDIA_TYPES["TabSeparated"]
    if output_format.startswith(("RowBinary", "Raw", "Npy")):
        return _MEDIA_TYPES["Native"]
    return "text/plain; charset=UTF-8"


def summary(stats: Stats, elapsed_ns: int) -> str:
    """The value of ``X-ClickHouse-Summary``; numbers are strings, as a ClickHouse server writes them."""
    returned = stats.written_rows or stats.result_rows
    counts = {
        "read_rows": stats.read_rows,
        "read_bytes": stats.read_bytes,
        "written_rows": stats.written_rows,
        "written_bytes": stats.written_bytes,
        "total_rows_to_read": stats.read_rows,
        "result_rows": returned,
        "result_bytes": stats.written_bytes or stats.result_bytes,
        "elapsed_ns": elapsed_ns,
    }
    return json.dumps({name: str(count) for name, count in counts.items()}, separators=(",", ":"))


def exception_block(tag: str, text: str) -> bytes:
    """The end of a body whose statement failed after the status was sent; ``tag`` is the value of ``X-ClickHouse-Exception-Tag``."""
    message = f"{text}\n".encode()
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag.encode(), message, len(message), tag.encode())
