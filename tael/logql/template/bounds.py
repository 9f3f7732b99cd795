"""What a template may make and do with one line: labels and numbers of a query must not decide how much memory or time that takes."""

from __future__ import annotations

from typing import Final

from tael.logql.template.errors import CallError
from tael.logql.template.values import Value, shown

MAX_CHARACTERS: Final = 1 << 20
"""Of a line that is made, and of a text on the way to it that is longer than what it is made of."""
MAX_WORK: Final = 1 << 27
"""Characters that functions read and write for one line, each step counting as some: about a second, whatever the template."""
STEP_WORK: Final = 128


def require_room(size: int, *given: Value) -> None:
    """Raises CallError for a text of so many characters, unless it is no longer than one that it is made of."""
    if size > MAX_CHARACTERS and size > max(map(characters_of, given), default=0):
        raise CallError(f"the result is longer than {MAX_CHARACTERS} characters")


def require_room_for(*values: Value) -> None:
    """The same for all of these in one text, before they are joined: a thousand arguments may be one long text a thousand times."""
    size = 0
    for value in values:
        size += len(shown(value))
        require_room(size, *values)


def characters_of(value: Value) -> int:
    """The length of a text, 0 for all else."""
    return len(value) if isinstance(value, str) else 0
