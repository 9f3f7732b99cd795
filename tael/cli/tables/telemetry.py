"""Tables of spans, log records, metrics and services, and the lines of live streams."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from tael.cli.figures import figure, milliseconds
from tael.cli.tables.layout import STATUS_STYLES, Rows, printable, say_if_none, status_of, write
from tael.cli.waterfall import waterfall

_LEVEL_STYLES = {"fatal": "bold red", "error": "red", "warn": "yellow", "debug": "dim", "trace": "dim"}


def print_spans(answer: Mapping[str, Any]) -> None:
    """``query traces``: one line a span."""
    if say_if_none(answer["spans"], "spans match", "a longer --last, fewer filters, or `tael services` to see what has arrived"):
        return
    table = Rows("START", "SERVICE", "~OPERATION", "?KIND", "STATUS", ">DURATION", "?TRACE")
    for span in answer["spans"]:
        start = span["start_time"].replace("T", " ")[:-7]
        duration = milliseconds(span["duration_ms"])
        table.add_row(
            start, printable(span["service"]), printable(span["operation"]), span["kind"], status_of(span), duration, span["trace_id"]
        )
    write(table.fitted())
    if answer["cursor"]:
        write(Text(f"there is more: --cursor {answer['cursor']}", style="dim"))


def print_trace(answer: Mapping[str, Any]) -> None:
    """``get trace``: the tree, with a time line."""
    rows = waterfall(answer["spans"])
    services = sorted({str(row.span["service"]) for row in rows})
    write(Text(f"trace {answer['trace_id']}  {answer['span_count']} spans  {printable(', '.join(services))}"))
    table = Rows("~OPERATION", "SERVICE", "STATUS", ">DURATION", "?TIME LINE")
    for row in rows:
        name = Text(row.branches, style="dim").append(printable(row.span["operation"]).plain, style="not dim")
        bar = Text(row.bar, style=STATUS_STYLES.get(row.span["status"], "cyan") if row.span["status"] == "error" else "cyan")
        table.add_row(name, printable(row.span["service"]), status_of(row.span), milliseconds(row.span["duration_ms"]), bar)
    write(table.fitted())
    if "truncated" in answer:
        write(Text(answer["truncated"], style="yellow"))


def span_line(span: Mapping[str, Any]) -> None:
    """``live traces``: one span as it arrives."""
    line = Text.assemble(
        (span["start_time"][11:-7], "dim"), "  ", printable(span["service"]), "  ", (printable(span["operation"]).plain, "bold"), "  "
    )
    write(line.append(status_of(span)).append(f"  {milliseconds(span['duration_ms'])}  ").append(span["trace_id"], style="dim"))


def print_services(answer: Mapping[str, Any]) -> None:
    """``services``: one line a service."""
    if say_if_none(answer["services"], "services have sent spans", "a longer --last, or `make demo` to send some"):
        return
    table = Rows("~SERVICE", ">SPANS", "?>TRACES", ">MEAN DURATION", ">ERRORS")
    for service in answer["services"]:
        errors = figure(service["error_rate"], ".2%")
        counts = figure(service["span_count"]), figure(service["trace_count"])
        table.add_row(printable(service["name"]), *counts, milliseconds(service["avg_duration_ms"]), errors)
    write(table.fitted())


def print_logs(answer: Mapping[str, Any]) -> None:
    """``query logs``: one line a record."""
    if say_if_none(answer["logs"], "log records match", "a longer --last, a lower --min-severity, or fewer filters"):
        return
    table = Rows("TIME", "SERVICE", "LEVEL", "~BODY", "?TRACE")
    for record in answer["logs"]:
        time = record["timestamp"].replace("T", " ")[:-7]
        table.add_row(time, printable(record["service"]), _level(record), _first_line(record), record["trace_id"] or "-")
    write(table.fitted())
    if answer["cursor"]:
        write(Text(f"there is more: --cursor {answer['cursor']}", style="dim"))


def log_line(record: Mapping[str, Any]) -> None:
    """``live logs``: one record as it arrives."""
    line = Text.assemble((record["timestamp"][11:-7], "dim"), "  ", printable(record["service"]), "  ", _level(record), "  ")
    write(line.append(_first_line(record)))


def _level(record: Mapping[str, Any]) -> Text:
    return Text(record["level"], style=_LEVEL_STYLES.get(record["level"], ""))


def _first_line(record: Mapping[str, Any]) -> Text:
    body = record["body"] if isinstance(record["body"], str) else json.dumps(record["body"], ensure_ascii=False)
    return printable(body.strip().partition("\n")[0])


def print_points(answer: Mapping[str, Any]) -> None:
    """``query metrics``: one line a point."""
    if say_if_none(answer["metrics"], "points match", "a longer --last, or `tael metrics names` to see which metrics there are"):
        return
    table = Rows("TIME", "SERVICE", "METRIC", "?TYPE", ">VALUE", "?~ATTRIBUTES")
    for point in answer["metrics"]:
        value = str(point["value"]) if "histogram" not in point else f"{point['histogram']['count']} observations"
        time = point["timestamp"].replace("T", " ")[:-7]
        attributes = " ".join(f"{name}={text}" for name, text in point["attributes"].items() if name != "job")
        table.add_row(time, printable(point["service"]), printable(point["name"]), point["metric_type"], value, printable(attributes))
    write(table.fitted())


def print_series(answer: Mapping[str, Any]) -> None:
    """``query metrics --query``: one line a series."""
    if say_if_none(answer["series"], "series match", "a longer --last, or `tael metrics names` to see which metrics there are"):
        return
    table = Rows("~SERIES", ">SAMPLES", ">MIN", ">MAX", ">LAST")
    for series in answer["series"]:
        labels = ", ".join(f'{name}="{text}"' for name, text in series["metric"].items())
        values = [value for _, value in series["values"]]
        plain = [value for value in values if not isinstance(value, str)] or [""]
        samples = len(values) + len(series.get("histograms", ()))
        table.add_row(
            printable(f"{{{labels}}}"),
            str(samples),
            *(figure(value, ".6g") for value in (min(plain), max(plain), values[-1] if values else "")),
        )
    write(table.fitted())
    for warning in answer["warnings"]:
        write(Text(warning, style="yellow"))


def print_names(answer: Mapping[str, Any]) -> None:
    """``metrics names``: one line a family."""
    if say_if_none(answer["names"], "metrics match", "another --match, or --all for those that are derived from spans"):
        return
    table = Rows("NAME", "TYPE", "UNIT", "~DESCRIPTION")
    for family in answer["names"]:
        table.add_row(printable(family["name"]), family["metric_type"], printable(family["unit"] or "-"), printable(family["description"]))
    write(table.fitted())
