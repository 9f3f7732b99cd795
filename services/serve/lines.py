"""Writes the output of all processes to one terminal: each line prefixed with the name of its process, or as a JSON object."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import deque
from datetime import UTC, datetime
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
_READ_BYTES, _LINE_BYTES = 1 << 16, 1 << 16
REMEMBERED = 12


class Lines:
    """Writes prefixed lines to ``out``; prefixes are as wide as the longest of ``names``, and coloured if ``colour``.

    With ``as_json`` there are no prefixes: a line that is a JSON object is kept, any other line is wrapped in one.
    """

    def __init__(self, out: TextIO, names: list[str], *, colour: bool, as_json: bool = False) -> None:
        self._out = out
        self._as_json = as_json
        self._width = max(map(len, names))
        self._colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)} if colour else {}

    def write(self, name: str, line: str) -> None:
        """Write one line of ``name``; errors are ignored, as the suite must survive the loss of its terminal."""
        with contextlib.suppress(OSError):
            self._out.write(f"{as_object(name, line) if self._as_json else self._prefixed(name, line)}\n")
            self._out.flush()

    def _prefixed(self, name: str, line: str) -> str:
        prefix = f"{name:<{self._width}} |"
        return f"\x1b[{self._colours[name]}m{prefix}\x1b[0m {line}" if name in self._colours else f"{prefix} {line}"


def as_object(name: str, line: str) -> str:
    """The line as a JSON object with the same members as our own processes' log lines."""
    if line.startswith("{"):
        with contextlib.suppress(ValueError):
            json.loads(line)
            return line
    wrapped = {
        "event": line,
        "service": name,
        "node": name,
        "level": "info",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    return json.dumps(wrapped, ensure_ascii=False)


class Output:
    """The output of one process: copied line by line to the terminal, except lines that match ``small_talk``; remembers the last lines."""

    def __init__(self, lines: Lines, name: str, small_talk: str) -> None:
        self._lines = lines
        self._name = name
        self._hidden = re.compile(small_talk) if small_talk else None
        self.last: deque[str] = deque(maxlen=REMEMBERED)

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Copy until the stream ends. A line longer than 64 KiB is cut into several."""
        rest = b""
        while chunk := await stream.read(_READ_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LINE_BYTES:
                whole, rest = [*whole, rest], b""
            for line in whole:
                self._copy(line)
        if rest:
            self._copy(rest)

    def _copy(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        if not line:
            return
        self.last.append(line)
        if self._hidden is None or not self._hidden.search(line):
            self._lines.write(self._name, line)
