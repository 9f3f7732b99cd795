"""``| regexp "(?P<name>re)"``: the named groups of the first match as labels; a group that took no part is empty."""

from __future__ import annotations

from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.names import label_name
from tael.model.patterns import searched


def regexp_parser(pattern: str) -> Run:
    """The stage as a function. Raises ValueError or Rejected for a pattern without named groups."""
    regex = searched(pattern)
    names = sorted(regex.groupindex.items(), key=lambda item: item[1])
    if not names:
        raise ValueError("at least one named capture must be supplied")
    groups = [(label_name(name), place) for name, place in names]

    def run(row: Row) -> bool:
        found = regex.search(row.line)
        if found is not None:
            for name, place in groups:
                row.parse(name, found.group(place) or "")
        return True

    return run
