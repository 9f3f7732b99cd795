"""Answers as tables for people. What telemetry says is printed without its control characters: it comes from strangers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from tael.cli.figures import figure, milliseconds, usd
from tael.cli.waterfall import waterfall

_PIPED_COLUMNS = 1000
_FLEXIBLE = 24
"""Characters that a column keeps which is shortened to fit, while others can still go."""
_LEAST = 10
"""Characters that any column keeps."""
_STATUS_STYLES = {"error": "red", "ok": "green"}
_LEVEL_STYLES = {"fatal": "bold red", "error": "red", "warn": "yellow", "debug": "dim", "trace": "dim"}


def print_spans(answer: Mapping[str, Any]) -> None:
    """``query traces``: one line a span."""
    if _nothing(answer["spans"], "spans match", "a longer --last, fewer filters, or `tael services` to see what has arrived"):
        return
    table = Rows("START", "SERVICE", "~OPERATION", "?KIND", "STATUS", ">DURATION", "?TRACE")
    for span in answer["spans"]:
        start = span["start_time"].replace("T", " ")[:-7]
        duration = milliseconds(span["duration_ms"])
        table.add_row(start, _plain(span["service"]), _plain(span["operation"]), span["kind"], _status(span), duration, span["trace_id"])
    _print(table.fitted())
    if answer["cursor"]:
        _print(Text(f"there is more: --cursor {answer['cursor']}", style="dim"))


def print_logs(answer: Mapping[str, Any]) -> None:
    """``query logs``: one line a record."""
    if _nothing(answer["logs"], "log records match", "a longer --last, a lower --min-severity, or fewer filters"):
        return
    table = Rows("TIME", "SERVICE", "LEVEL", "~BODY", "?TRACE")
    for record in answer["logs"]:
        time = record["timestamp"].replace("T", " ")[:-7]
        table.add_row(time, _plain(record["service"]), _level(record), _first_line(record), record["trace_id"] or "-")
    _print(table.fitted())
    if answer["cursor"]:
        _print(Text(f"there is more: --cursor {answer['cursor']}", style="dim"))


def print_points(answer: Mapping[str, Any]) -> None:
    """``query metrics``: one line a point."""
    if _nothing(answer["metrics"], "points match", "a longer --last, or `tael metrics names` to see which metrics there are"):
        return
    table = Rows("TIME", "SERVICE", "METRIC", "?TYPE", ">VALUE", "?~ATTRIBUTES")
    for point in answer["metrics"]:
        value = str(point["value"]) if "histogram" not in point else f"{point['histogram']['count']} observations"
        time = point["timestamp"].replace("T", " ")[:-7]
        attributes = " ".join(f"{name}={text}" for name, text in point["attributes"].items() if name != "job")
        table.add_row(time, _plain(point["service"]), _plain(point["name"]), point["metric_type"], value, _plain(attributes))
    _print(table.fitted())


def print_series(answer: Mapping[str, Any]) -> None:
    """``query metrics --query``: one line a series."""
    if _nothing(answer["series"], "series match", "a longer --last, or `tael metrics names` to see which metrics there are"):
        return
    table = Rows("~SERIES", ">SAMPLES", ">LEAST", ">MOST", ">LAST")
    for series in answer["series"]:
        labels = ", ".join(f'{name}="{text}"' for name, text in series["metric"].items())
        values = [value for _, value in series["values"]]
        plain = [value for value in values if not isinstance(value, str)] or [""]
        samples = len(values) + len(series.get("histograms", ()))
        table.add_row(
            _plain(f"{{{labels}}}"),
            str(samples),
            *(figure(value, ".6g") for value in (min(plain), max(plain), values[-1] if values else "")),
        )
    _print(table.fitted())
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
    table = Rows("~OPERATION", "SERVICE", "STATUS", ">DURATION", "?TIME LINE")
    for row in rows:
        name = Text(row.branches, style="dim").append(_plain(row.span["operation"]).plain, style="not dim")
        bar = Text(row.bar, style=_STATUS_STYLES.get(row.span["status"], "cyan") if row.span["status"] == "error" else "cyan")
        table.add_row(name, _plain(row.span["service"]), _status(row.span), milliseconds(row.span["duration_ms"]), bar)
    _print(table.fitted())
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
    if _nothing(answer["services"], "services sent spans", "a longer --last, or `make demo` to send some"):
        return
    table = Rows("~SERVICE", ">SPANS", "?>TRACES", ">MEAN DURATION", ">ERRORS")
    for service in answer["services"]:
        errors = figure(service["error_rate"], ".2%")
        counts = figure(service["span_count"]), figure(service["trace_count"])
        table.add_row(_plain(service["name"]), *counts, milliseconds(service["avg_duration_ms"]), errors)
    _print(table.fitted())


def print_cluster(answer: Mapping[str, Any]) -> None:
    """``server status``: who leads, the shards with their writers, the members."""
    leader = answer["leader"]
    leads = f"{leader['holder'] or 'nobody'} leads, epoch {leader['epoch']}" if leader else "nobody leads yet"
    _print(Text(f"cluster {answer['cluster_id']}: {leads}; shard map {answer['shard_map_version']}; answered by {answer['node_id']}\n"))
    shards = Rows("SHARD", "?URL", "~WRITER", "?>EPOCH", "?>COMMITTED", ">BEHIND", ">WAL", "?COMPACTOR")
    for shard in answer["shards"]:
        wal, compactor = shard["wal"], shard["compactor"]
        size, keeper = _bytes(wal["bytes"]) if wal else "-", compactor["holder"] if compactor else ""
        shards.add_row(shard["name"], shard["url"], *_writer(shard["writer"] or {}), size, _plain(keeper or "-"))
    _print(shards.fitted())
    _print(Text())
    members = Rows("~MEMBER", "TARGET", "STATE", ">LAST BEAT")
    for member in answer["members"]:
        state = Text("alive", style="green") if member["alive"] else Text("gone", style="red")
        members.add_row(_plain(member["node_id"]), _plain(member["target"]), state, f"{member['seconds_since_beat']:.1f} s ago")
    _print(members.fitted())


def print_calls(answer: Mapping[str, Any]) -> None:
    """``llm calls``: one line a call."""
    if _nothing(answer["calls"], "LLM calls match", "a longer --last, fewer filters, or --operation any"):
        return
    table = Rows("START", "SERVICE", "~MODEL", "?KIND", "STATUS", ">DURATION", "?>INPUT", "?>OUTPUT", ">COST", "?SESSION", "?TRACE")
    for span in answer["calls"]:
        call, start = span["llm"], span["start_time"].replace("T", " ")[:-7]
        model = _plain(call["response_model"] or call["model"] or "-")
        cells = [milliseconds(span["duration_ms"]), figure(call["input_tokens"]), figure(call["output_tokens"]), usd(call["cost_usd"])]
        ids = [_plain(call["session_id"] or "-"), span["trace_id"]]
        table.add_row(start, _plain(span["service"]), model, call["operation"], _status(span), *cells, *ids)
    _print(table.fitted())
    if answer["cursor"]:
        _print(Text(f"there is more: --cursor {answer['cursor']}", style="dim"))


_USED = (">CALLS", ">ERRORS", ">INPUT", "?>CACHED", ">OUTPUT", "?>P50", "?>P95", ">COST")


def print_usage(answer: Mapping[str, Any]) -> None:
    """``llm usage``: one line a group, and the sum."""
    if _nothing(answer["usage"], "LLM calls with usage match", "a longer --last, or fewer filters"):
        return
    by = list(answer["usage"][0])[: list(answer["usage"][0]).index("calls")]
    table = Rows(*(f"~{name.upper()}" for name in by), *_USED)
    for one in answer["usage"]:
        table.add_row(*(_plain(one[name] or "-") for name in by), *_used(one))
    table.add_row("all", *[""] * (len(by) - 1), *_used(answer["total"]))
    _print(table.fitted())
    if unpriced := answer["total"]["calls_without_cost"]:
        _print(Text(f"{figure(unpriced)} calls neither report a cost nor have a price (TAEL_LLM_PRICES_FILE)", style="yellow"))


def _used(one: Mapping[str, Any]) -> list[str]:
    counts = [figure(one[name]) for name in ("calls", "errors", "input_tokens", "cache_read_tokens", "output_tokens")]
    return [*counts, milliseconds(one["p50_duration_ms"]), milliseconds(one["p95_duration_ms"]), usd(one["cost_usd"])]


def print_sessions(answer: Mapping[str, Any]) -> None:
    """``llm sessions``: one line a session."""
    if _nothing(answer["sessions"], "sessions match", "a longer --last, or fewer filters"):
        return
    table = Rows("~SESSION", "LAST CALL", "?USER", "?SERVICE", ">TRACES", ">CALLS", ">INPUT", ">OUTPUT", ">COST")
    for one in answer["sessions"]:
        who = [_plain(", ".join(one[name]) or "-") for name in ("users", "services")]
        counts = [figure(one[name]) for name in ("traces", "calls", "input_tokens", "output_tokens")]
        table.add_row(_plain(one["session_id"]), _minute(one["last"]), *who, *counts, usd(one["cost_usd"]))
    _print(table.fitted())


def print_session(answer: Mapping[str, Any]) -> None:
    """``llm session``: who said what, as it was said."""
    used = answer["usage"]
    head = f"session {_plain(answer['session_id'])}  {len(answer['traces'])} traces  {figure(used['calls'])} calls  {usd(used['cost_usd'])}"
    _print(Text(head))
    for message in answer["messages"]:
        who = message["agent"] or message["model"] if message["role"] == "assistant" else ""
        _print(
            Text.assemble("\n", (message["role"], "bold"), f"  {_plain(who or '')}  ", (message["timestamp"][:19].replace("T", " "), "dim"))
        )
        for part in message["parts"]:
            _print(Text("\n".join(_plain(line).plain for line in _said(part).splitlines())))
    if "truncated" in answer:
        _print(Text(answer["truncated"], style="yellow"))


def _said(part: Mapping[str, Any]) -> str:
    if part["type"] == "tool_call":
        return f"→ {part['name']}({json.dumps(part['arguments'], ensure_ascii=False)})"
    text = part["text"] if "text" in part else json.dumps(part["value"], ensure_ascii=False)
    return f"← {text}" if part["type"] == "tool_result" else f"({text})" if part["type"] == "reasoning" else text


def print_tools(answer: Mapping[str, Any]) -> None:
    """``llm tools``: one line a tool."""
    if _nothing(answer["tools"], "tool calls match", "a longer --last, or fewer filters"):
        return
    table = Rows("~TOOL", "AGENT", ">CALLS", ">ERRORS", ">P50", ">P95", "?LAST CALL")
    for one in answer["tools"]:
        times = [milliseconds(one["p50_duration_ms"]), milliseconds(one["p95_duration_ms"]), _minute(one["last"])]
        table.add_row(
            _plain(one["tool"] or "-"), _plain(one["agent"] or "-"), figure(one["calls"]), figure(one["error_rate"], ".2%"), *times
        )
    _print(table.fitted())


def print_retention(answer: Mapping[str, Any]) -> None:
    """``retention``: one line a tenant and signal."""
    if _nothing(answer["retention"], "items are stored", "`make demo` to send some"):
        return
    table = Rows("TENANT", "SIGNAL", ">WANTED", "?SET BY", ">ACTUAL", "?OLDEST", ">ITEMS", ">HOT", ">COLD", "NEXT TO GO", "?>ITS BYTES")
    for one in answer["retention"]:
        goes, stored = one["next"], one["oldest"] is not None
        cells = [_plain(one["tenant"]), one["signal"], f"{one['wanted_days']:g} d", one["set_by"]]
        cells += [f"{one['actual_days']:.2f} d", _minute(one["oldest"])] if stored else ["-", "-"]
        cells += [f"{one['items']:,}", _bytes(one["hot_bytes"]), _bytes(one["cold_bytes"])]
        cells += [_minute(goes["at"]) if goes else "-", _bytes(goes["bytes"]) if goes else "-"]
        table.add_row(*cells)
    _print(table.fitted())


def print_cold(answer: Mapping[str, Any]) -> None:
    """``cold``: one line a shard and table, and then what is hot and on its way."""
    table = Rows("SHARD", "TABLE", ">FILES", ">ROWS", ">BYTES", "FROM", "TO")
    for shard in answer["shards"]:
        for one in shard["tables"]:
            size = [f"{one['files']:,}", f"{one['rows']:,}", _bytes(one["bytes"])]
            table.add_row(shard["shard"], one["table"], *size, _minute(one["from"]), _minute(one["to"]))
    if any(shard["tables"] for shard in answer["shards"]):
        _print(table.fitted())
    for shard in answer["shards"]:
        hot, away = shard["hot"], [f"{one['table']} {_minute(one['hour'])} {one['state']}" for one in shard["on_their_way"]]
        since = f" since {_minute(hot['oldest'])}" if hot["oldest"] else ""
        state = "" if shard["manifest"] == "ok" else f", its manifest is {shard['manifest']}"
        _print(Text(f"{shard['shard']}: hot {hot['hours']:,} hours, {hot['rows']:,} rows, {_bytes(hot['bytes'])}{since}{state}"))
        if away:
            _print(Text(f"{shard['shard']}: on their way {', '.join(away)}"))


def print_deletions(answer: Mapping[str, Any]) -> None:
    """``deletions``: one line a request."""
    if _nothing(answer["deletions"], "deletions were asked for", ""):
        return
    table = Rows("ID", "REQUESTED", "TENANT", "KIND", "~VALUE", "STATE", ">ROWS", "?~WAITS FOR")
    for one in answer["deletions"]:
        reason = next((shard["reason"] for shard in one["shards"] if shard["reason"]), "-")
        cells = [_plain(one[name]) for name in ("tenant", "kind", "value", "state")]
        table.add_row(one["id"], _minute(one["requested_at"]), *cells, f"{one['rows']:,}", _plain(reason))
    _print(table.fitted())


def print_deletion(answer: Mapping[str, Any]) -> None:
    """``delete`` and ``deletions ID``: the request, and a line a shard."""
    print_deletions({"deletions": [answer]})
    _print(Text())
    table = Rows("SHARD", "STATE", ">ROWS", "~WAITS FOR")
    for shard in answer["shards"]:
        table.add_row(shard["shard"], shard["state"], f"{shard['rows']:,}", _plain(shard["reason"] or "-"))
    _print(table.fitted())


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def print_letters(answer: Mapping[str, Any]) -> None:
    """``deadletter list``, ``replay`` and ``drop``: one line a letter."""
    if _nothing(answer["letters"], "dead letters", ""):
        return
    table = Rows(">ID", ">AGE", "TENANT", "SIGNAL", ">ITEMS", "?>BYTES", "?>SHARD", "?>SEQUENCE", "~REASON")
    for letter in answer["letters"]:
        table.add_row(*_letter(letter))
    _print(table.fitted())
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


class Rows:
    """A table whose columns line up and fit the terminal.

    Columns are marked ``>`` for right-aligned, ``~`` for one that is shortened to fit, and ``?`` for one that goes, the last first, before any
    other column is cut.
    """

    def __init__(self, *columns: str) -> None:
        self._columns = columns
        self._cells: list[list[Text]] = []

    def add_row(self, *cells: Text | str) -> None:
        """One line."""
        self._cells.append([cell if isinstance(cell, Text) else Text(cell) for cell in cells])

    def fitted(self) -> Table:
        """The columns that fit."""
        kept = list(range(len(self._columns)))
        while self._width(kept) > _width() and (optional := [at for at in kept if "?" in self._columns[at]]):
            kept.remove(optional[-1])
        widths = self._shares(kept)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for at in kept:
            justify: JustifyMethod = "right" if ">" in self._columns[at] else "left"
            table.add_column(self._name(at), justify=justify, no_wrap=True, overflow="ellipsis", width=widths[at])
        for cells in self._cells:
            table.add_row(*(cells[at] for at in kept))
        return table

    def _shares(self, kept: Sequence[int]) -> dict[int, int]:
        """The width of each column: text gives way, that of ~ columns first, the widest first; a number is never cut."""
        widths = {at: min(self._natural(at), _width()) for at in kept}
        for mark in ("~", ""):
            giving = [at for at in kept if mark in self._columns[at] and ">" not in self._columns[at]]
            while sum(widths.values()) + 2 * len(kept) > _width():
                widest = max(giving, key=widths.__getitem__, default=None)
                if widest is None or widths[widest] <= _LEAST:
                    break
                widths[widest] -= 1
        return widths

    def _name(self, at: int) -> str:
        return self._columns[at].lstrip("?~>")

    def _natural(self, at: int) -> int:
        return max([cell_len(self._name(at)), *(cells[at].cell_len for cells in self._cells)])

    def _width(self, kept: Sequence[int]) -> int:
        """What the columns need at least: a flexible one its natural width, up to _FLEXIBLE."""
        needed = [min(self._natural(at), _FLEXIBLE) if "~" in self._columns[at] else self._natural(at) for at in kept]
        return sum(needed) + 2 * len(needed)


def print_names(answer: Mapping[str, Any]) -> None:
    """``metrics names``: one line a family."""
    if _nothing(answer["names"], "metrics match", "another --match, or --all for those that are derived from spans"):
        return
    table = Rows("NAME", "TYPE", "UNIT", "~DESCRIPTION")
    for family in answer["names"]:
        table.add_row(_plain(family["name"]), family["metric_type"], _plain(family["unit"] or "-"), _plain(family["description"]))
    _print(table.fitted())


def _nothing(items: Sequence[object], what: str, hint: str) -> bool:
    """Whether there are none; then says so, and what to try."""
    if not items:
        _print(Text(f"no {what}" + (f"; try {hint}" if hint else "")))
    return not items


def _width() -> int:
    return Console(file=sys.stdout).width if sys.stdout.isatty() else _PIPED_COLUMNS


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
