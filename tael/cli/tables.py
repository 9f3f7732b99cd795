"""Answers as tables for people. What telemetry says is printed without its control characters: it comes from strangers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tael.cli.waterfall import milliseconds, waterfall

_PIPED_COLUMNS = 1000
_STATUS_STYLES = {"error": "red", "ok": "green"}
_LEVEL_STYLES = {"fatal": "bold red", "error": "red", "warn": "yellow", "debug": "dim", "trace": "dim"}


def print_spans(answer: Mapping[str, Any]) -> None:
    """``query traces``: one line a span."""
    table = _table("START", "SERVICE", "OPERATION", "KIND", "STATUS", ">DURATION", "TRACE")
    for span in answer["spans"]:
        start = span["start_time"].replace("T", " ")[:-7]
        duration = milliseconds(span["duration_ms"])
        table.add_row(start, _plain(span["service"]), _plain(span["operation"]), span["kind"], _status(span), duration, span["trace_id"])
    _print(table)
    if answer["cursor"]:
        _print(Text(f"there is more: --cursor {answer['cursor']}", style="dim"))


def print_logs(answer: Mapping[str, Any]) -> None:
    """``query logs``: one line a record."""
    table = _table("TIME", "SERVICE", "LEVEL", "BODY", "TRACE")
    for record in answer["logs"]:
        time = record["timestamp"].replace("T", " ")[:-7]
        table.add_row(time, _plain(record["service"]), _level(record), _first_line(record), record["trace_id"] or "-")
    _print(table)
    if answer["cursor"]:
        _print(Text(f"there is more: --cursor {answer['cursor']}", style="dim"))


def print_points(answer: Mapping[str, Any]) -> None:
    """``query metrics``: one line a point."""
    table = _table("TIME", "SERVICE", "METRIC", "TYPE", "VALUE", "ATTRIBUTES")
    for point in answer["metrics"]:
        value = str(point["value"]) if "histogram" not in point else f"{point['histogram']['count']} observations"
        time = point["timestamp"].replace("T", " ")[:-7]
        attributes = " ".join(f"{name}={text}" for name, text in point["attributes"].items() if name != "job")
        table.add_row(time, _plain(point["service"]), _plain(point["name"]), point["metric_type"], value, _plain(attributes))
    _print(table)


def print_series(answer: Mapping[str, Any]) -> None:
    """``query metrics --query``: one line a series."""
    table = _table("SERIES", "SAMPLES", "LEAST", "MOST", "LAST")
    for series in answer["series"]:
        labels = ", ".join(f'{name}="{text}"' for name, text in series["metric"].items())
        values = [value for _, value in series["values"]]
        plain = [value for value in values if not isinstance(value, str)] or [""]
        samples = len(values) + len(series.get("histograms", ()))
        table.add_row(_plain(f"{{{labels}}}"), str(samples), str(min(plain)), str(max(plain)), str(values[-1] if values else ""))
    _print(table)
    for warning in answer["warnings"]:
        _print(Text(warning, style="yellow"))


def log_line(record: Mapping[str, Any]) -> None:
    """``live logs``: one record as it comes."""
    line = Text.assemble((record["timestamp"][11:-7], "dim"), "  ", _plain(record["service"]), "  ", _level(record), "  ")
    _print(line.append(_first_line(record)))


def _level(record: Mapping[str, Any]) -> Text:
    return Text(record["level"], style=_LEVEL_STYLES.get(record["level"], ""))


def _first_line(record: Mapping[str, Any]) -> Text:
    body = record["body"] if isinstance(record["body"], str) else json.dumps(record["body"], ensure_ascii=False)
    return _plain(body.strip().partition("\n")[0])


def print_trace(answer: Mapping[str, Any]) -> None:
    """``get trace``: the tree, with a time line."""
    rows = waterfall(answer["spans"])
    services = sorted({str(row.span["service"]) for row in rows})
    _print(Text(f"trace {answer['trace_id']}  {answer['span_count']} spans  {_plain(', '.join(services))}"))
    table = _table("OPERATION", "SERVICE", "STATUS", ">DURATION", "TIME LINE")
    for row in rows:
        name = Text(row.branches, style="dim").append(_plain(row.span["operation"]).plain, style="not dim")
        bar = Text(row.bar, style=_STATUS_STYLES.get(row.span["status"], "cyan") if row.span["status"] == "error" else "cyan")
        table.add_row(name, _plain(row.span["service"]), _status(row.span), milliseconds(row.span["duration_ms"]), bar)
    _print(table)
    if "truncated" in answer:
        _print(Text(answer["truncated"], style="yellow"))


def span_line(span: Mapping[str, Any]) -> None:
    """``live traces``: one span as it comes."""
    line = Text.assemble(
        (span["start_time"][11:-7], "dim"), "  ", _plain(span["service"]), "  ", (_plain(span["operation"]).plain, "bold"), "  "
    )
    _print(line.append(_status(span)).append(f"  {milliseconds(span['duration_ms'])}  ").append(span["trace_id"], style="dim"))


def print_services(answer: Mapping[str, Any]) -> None:
    """``services``."""
    table = _table("SERVICE", ">SPANS", ">TRACES", ">MEAN DURATION", ">ERRORS")
    for service in answer["services"]:
        errors = f"{service['error_rate']:.2%}"
        counts = f"{service['span_count']:,}", f"{service['trace_count']:,}"
        table.add_row(_plain(service["name"]), *counts, milliseconds(service["avg_duration_ms"]), errors)
    _print(table)


def print_cluster(answer: Mapping[str, Any]) -> None:
    """``server status``: who leads, the shards with their writers, the members."""
    leader = answer["leader"]
    leads = f"{leader['holder'] or 'nobody'} leads, epoch {leader['epoch']}" if leader else "nobody leads yet"
    _print(Text(f"cluster {answer['cluster_id']}: {leads}; shard map {answer['shard_map_version']}; answered by {answer['node_id']}\n"))
    shards = _table("SHARD", "URL", "WRITER", ">EPOCH", ">COMMITTED", ">BEHIND", ">WAL", "COMPACTOR")
    for shard in answer["shards"]:
        wal, compactor = shard["wal"], shard["compactor"]
        size, keeper = _bytes(wal["bytes"]) if wal else "-", compactor["holder"] if compactor else ""
        shards.add_row(shard["name"], shard["url"], *_writer(shard["writer"] or {}), size, _plain(keeper or "-"))
    _print(shards)
    _print(Text())
    members = _table("MEMBER", "TARGET", "STATE", ">LAST BEAT")
    for member in answer["members"]:
        state = Text("alive", style="green") if member["alive"] else Text("gone", style="red")
        members.add_row(_plain(member["node_id"]), _plain(member["target"]), state, f"{member['seconds_since_beat']:.1f} s ago")
    _print(members)


def print_letters(answer: Mapping[str, Any]) -> None:
    """``deadletter list``, ``replay`` and ``drop``: one line a letter."""
    table = _table(">ID", ">AGE", "TENANT", "SIGNAL", ">ITEMS", ">BYTES", ">SHARD", ">SEQUENCE", "REASON")
    for letter in answer["letters"]:
        table.add_row(*_letter(letter))
    _print(table)
    if answer["next"] is not None:
        _print(Text(f"there is more: --after {answer['next']}", style="dim"))


def print_letter(answer: Mapping[str, Any]) -> None:
    """``deadletter show``: the line, the reason, and the records as JSON."""
    print_letters({"letters": [answer], "next": None})
    _print(_plain(answer["reason"]))
    for record in answer["records"]:
        _print(Text("\n").append("\n".join(_plain(line).plain for line in json.dumps(record, ensure_ascii=False, indent=2).splitlines())))


def _letter(letter: Mapping[str, Any]) -> list[Text]:
    age = f"{letter['age_seconds']:.0f} s"
    cells = letter["id"], age, letter["tenant"] or "-", letter["signal"], letter["items"], _bytes(letter["bytes"])
    return [_plain(cell) for cell in (*cells, letter["shard"], letter["sequence"], letter["reason"])]


def _writer(writer: Mapping[str, Any]) -> list[Text]:
    behind = writer.get("lag_entries")
    cells = [writer.get("holder") or "-", writer.get("epoch", "-"), writer.get("committed", "-"), "-" if behind is None else behind]
    return [_plain(cell) for cell in cells]


def _table(*columns: str) -> Table:
    """Columns that line up; those marked ``>`` to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return table


def _print(what: Table | Text) -> None:
    # Into a pipe nothing is cut off; on a terminal rich shortens to its width.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_COLUMNS, highlight=False)
    console.print(what, soft_wrap=isinstance(what, Text))


def _plain(value: object) -> Text:
    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value)))


def _status(span: Mapping[str, Any]) -> Text:
    return Text(span["status"], style=_STATUS_STYLES.get(span["status"], ""))


def _bytes(count: float) -> str:
    units: Sequence[str] = ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {units[-1]}"
