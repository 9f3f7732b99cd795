"""Tables of the cluster and its data: shards and members, tiers, retention, deletions, dead letters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from tael.cli.tables.layout import Rows, byte_size, printable, say_if_none, to_minute, write


def print_cluster(answer: Mapping[str, Any]) -> None:
    """``server status``: who leads, the shards with their writers, the members."""
    leader = answer["leader"]
    leads = f"{leader['holder'] or 'nobody'} leads, epoch {leader['epoch']}" if leader else "nobody leads yet"
    write(Text(f"cluster {answer['cluster_id']}: {leads}; shard map {answer['shard_map_version']}; answered by {answer['node_id']}\n"))
    shards = Rows("SHARD", "?URL", "~WRITER", "?>EPOCH", "?>COMMITTED", ">BEHIND", ">WAL", "?COMPACTOR")
    for shard in answer["shards"]:
        wal, compactor = shard["wal"], shard["compactor"]
        size, keeper = byte_size(wal["bytes"]) if wal else "-", compactor["holder"] if compactor else ""
        shards.add_row(shard["name"], shard["url"], *_writer(shard["writer"] or {}), size, printable(keeper or "-"))
    write(shards.fitted())
    write(Text())
    members = Rows("~MEMBER", "TARGET", "STATE", ">LAST BEAT")
    for member in answer["members"]:
        state = Text("alive", style="green") if member["alive"] else Text("gone", style="red")
        members.add_row(printable(member["node_id"]), printable(member["target"]), state, f"{member['seconds_since_beat']:.1f} s ago")
    write(members.fitted())


def _writer(writer: Mapping[str, Any]) -> list[Text]:
    behind = writer.get("lag_entries")
    cells = [writer.get("holder") or "-", writer.get("epoch", "-"), writer.get("committed", "-"), "-" if behind is None else behind]
    return [printable(cell) for cell in cells]


def print_retention(answer: Mapping[str, Any]) -> None:
    """``retention``: one line a tenant and signal."""
    if say_if_none(answer["retention"], "items are stored", "`make demo` to send some"):
        return
    table = Rows("TENANT", "SIGNAL", ">WANTED", "?SET BY", ">ACTUAL", "?OLDEST", ">ITEMS", ">HOT", ">COLD", "NEXT TO GO", "?>ITS BYTES")
    for one in answer["retention"]:
        goes, stored = one["next"], one["oldest"] is not None
        cells = [printable(one["tenant"]), one["signal"], f"{one['wanted_days']:g} d", one["set_by"]]
        cells += [f"{one['actual_days']:.2f} d", to_minute(one["oldest"])] if stored else ["-", "-"]
        cells += [f"{one['items']:,}", byte_size(one["hot_bytes"]), byte_size(one["cold_bytes"])]
        cells += [to_minute(goes["at"]) if goes else "-", byte_size(goes["bytes"]) if goes else "-"]
        table.add_row(*cells)
    write(table.fitted())


def print_cold(answer: Mapping[str, Any]) -> None:
    """``cold``: one line a shard and table, then what is hot and which hours are on their way."""
    table = Rows("SHARD", "TABLE", ">FILES", ">ROWS", ">BYTES", "FROM", "TO")
    for shard in answer["shards"]:
        for one in shard["tables"]:
            size = [f"{one['files']:,}", f"{one['rows']:,}", byte_size(one["bytes"])]
            table.add_row(shard["shard"], one["table"], *size, to_minute(one["from"]), to_minute(one["to"]))
    if any(shard["tables"] for shard in answer["shards"]):
        write(table.fitted())
    for shard in answer["shards"]:
        hot, away = shard["hot"], [f"{one['table']} {to_minute(one['hour'])} {one['state']}" for one in shard["on_their_way"]]
        since = f" since {to_minute(hot['oldest'])}" if hot["oldest"] else ""
        state = "" if shard["manifest"] == "ok" else f", its manifest is {shard['manifest']}"
        write(Text(f"{shard['shard']}: hot {hot['hours']:,} hours, {hot['rows']:,} rows, {byte_size(hot['bytes'])}{since}{state}"))
        if away:
            write(Text(f"{shard['shard']}: on their way {', '.join(away)}"))


def print_deletions(answer: Mapping[str, Any]) -> None:
    """``deletions``: one line a request."""
    if say_if_none(answer["deletions"], "deletions were requested", ""):
        return
    table = Rows("ID", "REQUESTED", "TENANT", "KIND", "~VALUE", "STATE", ">ROWS", "?~WAITS FOR")
    for one in answer["deletions"]:
        reason = next((shard["reason"] for shard in one["shards"] if shard["reason"]), "-")
        cells = [printable(one[name]) for name in ("tenant", "kind", "value", "state")]
        table.add_row(one["id"], to_minute(one["requested_at"]), *cells, f"{one['rows']:,}", printable(reason))
    write(table.fitted())


def print_deletion(answer: Mapping[str, Any]) -> None:
    """``delete`` and ``deletions ID``: the request, and a line a shard."""
    print_deletions({"deletions": [answer]})
    write(Text())
    table = Rows("SHARD", "STATE", ">ROWS", "~WAITS FOR")
    for shard in answer["shards"]:
        table.add_row(shard["shard"], shard["state"], f"{shard['rows']:,}", printable(shard["reason"] or "-"))
    write(table.fitted())


def print_letters(answer: Mapping[str, Any]) -> None:
    """``deadletter list``, ``replay`` and ``drop``: one line a letter."""
    if say_if_none(answer["letters"], "dead letters", ""):
        return
    table = Rows(">ID", ">AGE", "TENANT", "SIGNAL", ">ITEMS", "?>BYTES", "?>SHARD", "?>SEQUENCE", "~REASON")
    for letter in answer["letters"]:
        table.add_row(*_letter(letter))
    write(table.fitted())
    if answer["next"] is not None:
        write(Text(f"there is more: --after {answer['next']}", style="dim"))


def print_letter(answer: Mapping[str, Any]) -> None:
    """``deadletter show``: the line, the reason, and the records as JSON."""
    print_letters({"letters": [answer], "next": None})
    write(printable(answer["reason"]))
    for record in answer["records"]:
        write(Text("\n").append("\n".join(printable(line).plain for line in json.dumps(record, ensure_ascii=False, indent=2).splitlines())))


def _letter(letter: Mapping[str, Any]) -> list[Text]:
    age = f"{letter['age_seconds']:.0f} s"
    cells = letter["id"], age, letter["tenant"] or "-", letter["signal"], letter["items"], byte_size(letter["bytes"])
    return [printable(cell) for cell in (*cells, letter["shard"], letter["sequence"], letter["reason"])]
