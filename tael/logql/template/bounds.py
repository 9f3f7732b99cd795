"""Limits of a template's output and work for one line: a query's numbers and labels must not decide how much memory or time that takes."""

from __future__ import annotations

from typing import Final

from tael.logql.template.errors import CallError
from tael.logql.template.values import Value, shown

MAX_CHARACTERS: Final = 1 << 20
"""The limit of the resulting line, and of any intermediate text that is longer than its inputs."""
MAX_WORK: Final = 1 << 27
"""The most characters that functions may read and write for one line, where each step counts as some: about a second for any template."""
STEP_WORK: Final = 128


def require_room(size: int, *given: Value) -> None:
    """Raise CallError for a text of ``size`` characters beyond the limit, unless one of its inputs is as long."""
    if size > MAX_CHARACTERS and size > max(map(characters_of, given), default=0):
        raise CallError(f"the result is longer than {MAX_CHARACTERS} characters")


def require_room_for(*values: Value) -> None:
    """``require_room`` for the values joined to one text, before joining them: arguments may be one long text a thousand times."""
    size = 0
    for value in values:
        size += len(shown(value))
        require_room(size, *values)


def characters_of(value: Value) -> int:
    """The length of a text, 0 for any other value."""
    return len(value) if isinstance(value, str) else 0
