"""``| unpack``: the members of a JSON line as labels, and ``_entry`` as the line, as Promtail's ``pack`` writes both."""

from __future__ import annotations

from typing import Final

from tael.logql.row import Row
from tael.logql.stages.json_parser import JSON_ERROR
from tael.logql.stages.json_scan import members
from tael.logql.stages.names import label_name

ENTRY: Final = "_entry"


def unpack(row: Row) -> bool:
    """Unpack the line; one without ``_entry`` is unchanged and gets no labels."""
    if not row.line or row.hints.skip(row.parsed):
        return True
    if row.line[0] != "{":
        row.fail(JSON_ERROR, "expecting json object(6), but it is not")
        return True
    try:
        found = [(key, value.text()) for key, value in members(row.line) if value.kind == "string"]
    except ValueError as problem:
        row.fail(JSON_ERROR, str(problem))
        return True
    entries = [text for key, text in found if key == ENTRY]
    if entries:
        for key, text in found:
            if key != ENTRY:
                row.parse(label_name(key), text)
        row.line = entries[-1]
    return True
