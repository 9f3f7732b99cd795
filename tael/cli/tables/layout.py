"""The layout of tables: aligned columns that fit the terminal, and untrusted text without control characters."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

_PIPED_COLUMNS = 1000
_FLEXIBLE = 24
"""The width that a ``~`` column keeps as long as optional columns can still be dropped."""
_LEAST = 10
"""The width below which no column is cut."""
STATUS_STYLES = {"error": "red", "ok": "green"}


class Rows:
    """A table with aligned columns that fits the terminal.

    Column names begin with ``>`` for right-aligned, ``~`` for one that is shortened to fit, and ``?`` for an optional one: optional columns
    are dropped, the last first, before any other column is cut.
    """

    def __init__(self, *columns: str) -> None:
        self._columns = columns
        self._cells: list[list[Text]] = []

    def add_row(self, *cells: Text | str) -> None:
        """Add a line."""
        self._cells.append([cell if isinstance(cell, Text) else Text(cell) for cell in cells])

    def fitted(self) -> Table:
        """The table with the columns that fit."""
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
        """The width of each column. Text columns are shortened, those marked ``~`` first and the widest first; numbers are never cut."""
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
        """The least width of these columns: a ``~`` column counts with its natural width, but at most _FLEXIBLE."""
        needed = [min(self._natural(at), _FLEXIBLE) if "~" in self._columns[at] else self._natural(at) for at in kept]
        return sum(needed) + 2 * len(needed)


def say_if_none(items: Sequence[object], what: str, hint: str) -> bool:
    """Whether ``items`` is empty; then prints so, and what to try."""
    if not items:
        write(Text(f"no {what}" + (f"; try {hint}" if hint else "")))
    return not items


def _width() -> int:
    return Console(file=sys.stdout).width if sys.stdout.isatty() else _PIPED_COLUMNS


def write(what: Table | Text) -> None:
    """Print a table or a text to standard output."""
    # Into a pipe nothing is cut off; on a terminal rich shortens to its width.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_COLUMNS, highlight=False)
    console.print(what, soft_wrap=isinstance(what, Text))


def printable(value: object) -> Text:
    """The value as text, without characters that could move the cursor or change colours: it may come from an untrusted sender."""
    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value)))


def status_of(span: Mapping[str, Any]) -> Text:
    """A span's status, in its colour."""
    return Text(span["status"], style=STATUS_STYLES.get(span["status"], ""))


def to_minute(time: str) -> str:
    """An RFC 3339 time as ``2026-01-31 10:30``, without its seconds."""
    return time[:16].replace("T", " ")


def byte_size(count: float) -> str:
    """A number of bytes in the unit that reads best."""
    units: Sequence[str] = ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {units[-1]}"
