"""A request's body, kept until its statement has read it: in memory while the node's budget lasts, beyond it in a file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_READ_BYTES: Final = 4 << 20


class Budget:
    """Bytes that all spools of the node may keep in memory together. For one thread."""

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes; False when there are not so many left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Return bytes taken."""
        self._left += size


class Spool:
    """Bytes appended once and read from the start. Append and close it in the event loop, read it in any one thread."""

    def __init__(self, budget: Budget, directory: Path) -> None:
        self._budget = budget
        self._directory = directory
        self._chunks: list[bytes] = []
        self._taken = 0
        self._file: BinaryIO | None = None
        self.size = 0

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self.size += len(chunk)
        if self._file is None and self._budget.take(len(chunk)):
            self._taken += len(chunk)
            self._chunks.append(chunk)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115  # closed by close()
        self._file.write(chunk)

    def prepend(self, chunk: bytes) -> None:
        """Put a few bytes before all others; always kept in memory."""
        self.size += len(chunk)
        self._chunks.insert(0, chunk)

    def start(self, size: int) -> bytes:
        """The first ``size`` bytes, or as many as there are."""
        parts: list[bytes] = []
        for chunk in self.chunks():
            parts.append(chunk[:size])
            size -= len(chunk)
            if size <= 0:
                break
        return b"".join(parts)

    def chunks(self, skip: int = 0) -> Iterator[bytes]:
        """The bytes after the first ``skip``, in pieces of a few megabytes at most."""
        held: list[bytes] = []
        size = 0
        for chunk in self._pieces():
            piece = chunk[skip:] if skip else chunk
            skip = max(0, skip - len(chunk))
            held.append(piece)
            size += len(piece)
            if size >= _READ_BYTES:
                yield b"".join(held)
                held, size = [], 0
        if size:
            yield b"".join(held)

    def _pieces(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._file is not None:
            self._file.flush()
            at = 0
            while piece := os.pread(self._file.fileno(), _READ_BYTES, at):
                at += len(piece)
                yield piece

    @contextlib.contextmanager
    def as_file(self, skip: int = 0) -> Iterator[str]:
        """A file of this process with the bytes after the first ``skip``, by its path."""
        with tempfile.TemporaryFile(dir=self._directory) as copy:
            for chunk in self.chunks(skip):
                copy.write(chunk)
            copy.flush()
            yield f"/proc/self/fd/{copy.fileno()}"

    def close(self) -> None:
        """Free memory and file."""
        self._budget.give(self._taken)
        self._chunks, self._taken = [], 0
        if self._file is not None:
            self._file.close()
            self._file = None
