"""The layout of tables: columns that line up and fit the terminal, and text from outside without control characters."""

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
"""Characters that a column keeps which is shortened to fit, while others can still go."""
_LEAST = 10
"""Characters that any column keeps."""
STATUS_STYLES = {"error": "red", "ok": "green"}


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


def say_if_none(items: Sequence[object], what: str, hint: str) -> bool:
    """Whether there are none; then says so, and what to try."""
    if not items:
        write(Text(f"no {what}" + (f"; try {hint}" if hint else "")))
    return not items


def _width() -> int:
    return Console(file=sys.stdout).width if sys.stdout.isatty() else _PIPED_COLUMNS


def write(what: Table | Text) -> None:
    """Print it."""
    # Into a pipe nothing is cut off; on a terminal rich shortens to its width.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_COLUMNS, highlight=False)
    console.print(what, soft_wrap=isinstance(what, Text))


def printable(value: object) -> Text:
    """The value without what would move the cursor or change colours: it may come from strangers."""
    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(value)))


def status_of(span: Mapping[str, Any]) -> Text:
    """A span's status in its colour."""
    return Text(span["status"], style=STATUS_STYLES.get(span["status"], ""))


def to_minute(time: str) -> str:
    """An RFC 3339 time without its seconds, as people write it."""
    return time[:16].replace("T", " ")


def byte_size(count: float) -> str:
    """So many bytes in the unit that suits them."""
    units: Sequence[str] = ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {units[-1]}"
