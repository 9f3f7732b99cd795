"""``| regexp "(?P<name>re)"``: the named groups of the first match as labels; a group that did not participate is empty."""

from __future__ import annotations

import re
from collections import Counter

from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.names import label_name
from tael.model.patterns import searched

_NAMED = re.compile(r"\\.|\(\?P?<(\w+)>", re.DOTALL)
"""Finds groups' names; RE2 silently keeps only one of two groups with the same name."""


def regexp_parser(pattern: str) -> Run:
    """The stage as a function. Raises ValueError or Rejected for a pattern without named groups."""
    regex = searched(pattern)
    if foreign := next((name for name in regex.groupindex if not name.isascii()), ""):
        raise ValueError(f"error parsing regexp: invalid named capture: `(?P<{foreign}>`")
    names = sorted(regex.groupindex.items(), key=lambda item: item[1])
    if not names:
        raise ValueError("at least one named capture must be supplied")
    groups = [(label_name(name), place) for name, place in names]
    written = Counter(label_name(name) for name in _NAMED.findall(pattern) if name)
    if repeated := next((name for name, count in written.items() if count > 1), ""):
        raise ValueError(f"duplicate extracted label name '{repeated}'")

    def run(row: Row) -> bool:
        found = regex.search(row.line)
        if found is not None:
            for name, place in groups:
                row.parse(name, found.group(place) or "")
        return True

    return run
