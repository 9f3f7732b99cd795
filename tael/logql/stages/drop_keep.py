"""``| drop a, b="c"`` and ``| keep a, b="c"``: labels are removed or kept by name, or by name and value."""

from __future__ import annotations

from collections.abc import Callable

from tael.logql.ast import NamedLabel
from tael.logql.errors import ERROR, ERROR_DETAILS, PRESERVE_ERROR
from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.label_filter import condition


def _always(_: str) -> bool:
    return True


def _conditions(labels: tuple[NamedLabel, ...]) -> list[tuple[str, Callable[[str], bool]]]:
    return [(label.name, condition(label.matcher) if label.matcher else _always) for label in labels]


def drop(labels: tuple[NamedLabel, ...]) -> Run:
    """Remove labels, also ``__error__`` and ``__error_details__``; without ``__error__`` the line no longer counts as failed."""
    conditions = _conditions(labels)

    def run(row: Row) -> bool:
        for name, meets in conditions:
            if name == ERROR:
                row.error = "" if meets(row.error) else row.error
            elif name == ERROR_DETAILS:
                row.details = "" if meets(row.details) else row.details
            elif meets(row.get(name) or ""):
                row.delete(name)
        return True

    return run


def keep(labels: tuple[NamedLabel, ...]) -> Run:
    """Remove all other labels, except errors."""
    conditions = _conditions(labels)

    def run(row: Row) -> bool:
        for name, value in row.labels().items():
            if name not in (ERROR, ERROR_DETAILS, PRESERVE_ERROR) and not any(name == one and meets(value) for one, meets in conditions):
                row.delete(name)
        return True

    return run
