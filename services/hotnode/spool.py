"""A request's body, kept until its statement has read it: in memory while the node's budget lasts, beyond it in a file.

What is more than a few kilobytes lies in a memory file, because the engine reads files by name: it needs no copy then.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 4 << 20
_SMALL_BYTES: Final = 64 << 10


class Budget:
    """Bytes that all spools of the node may keep in memory together. For one thread."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = self._left = limit_bytes

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._limit - self._left

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
        self._small = bytearray()
        self._front = b""
        self._descriptor = -1
        self._taken = 0
        self._spilled = False
        self.size = 0

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self.size += len(chunk)
        if self._descriptor < 0 and len(self._small) + len(chunk) <= _SMALL_BYTES:
            self._small += chunk
            return
        if self._descriptor < 0:
            self._descriptor = os.memfd_create("spool", os.MFD_CLOEXEC)
            # From here on all bytes are in the descriptor: one place to read from.
            small, self._small = bytes(self._small), bytearray()
            self._write(small)
        self._write(chunk)

    def _write(self, chunk: bytes) -> None:
        if not self._spilled:
            if self._budget.take(len(chunk)):
                self._taken += len(chunk)
            else:
                self._spill()
        _write_all(self._descriptor, chunk)

    def _spill(self) -> None:
        """Go on in a file, with what is in memory moved there."""
        held, self._descriptor, self._spilled = self._descriptor, _nameless_file(self._directory), True
        # Copied in pieces: the point of spilling is that the whole does not fit in memory.
        for piece in _read(held, 0):
            _write_all(self._descriptor, piece)
        os.close(held)
        self._budget.give(self._taken)
        self._taken = 0

    def prepend(self, chunk: bytes) -> None:
        """Put a few bytes before all others; always kept in memory."""
        self.size += len(chunk)
        self._front = chunk + self._front

    def start(self, size: int) -> bytes:
        """The first ``size`` bytes, or as many as there are."""
        rest = bytes(self._small[:size]) if self._descriptor < 0 else os.pread(self._descriptor, size, 0)
        return (self._front + rest)[:size]

    def chunks(self, skip: int = 0) -> Iterator[bytes]:
        """The bytes after the first ``skip``, in pieces of a few megabytes at most."""
        front = self._front[skip:]
        if front:
            yield front
        skip = max(0, skip - len(self._front))
        if self._descriptor >= 0:
            yield from _read(self._descriptor, skip)
        elif len(self._small) > skip:
            yield bytes(self._small[skip:])

    @contextlib.contextmanager
    def as_file(self, skip: int = 0) -> Iterator[str]:
        """A file of this process with the bytes after the first ``skip``, by its path; a copy only when it must be."""
        if self._descriptor >= 0 and not skip and not self._front:
            yield _path(self._descriptor)
            return
        # The engine reads a file from its beginning only, so bytes to skip cost a copy.
        copy = _nameless_file(self._directory) if self._spilled else os.memfd_create("rows", os.MFD_CLOEXEC)
        try:
            for chunk in self.chunks(skip):
                _write_all(copy, chunk)
            yield _path(copy)
        finally:
            os.close(copy)

    def close(self) -> None:
        """Free memory and file."""
        self._budget.give(self._taken)
        self._taken = 0
        self._small = bytearray()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _nameless_file(directory: Path) -> int:
    """A file that is gone with its descriptor, at the latest with the process."""
    with tempfile.TemporaryFile(dir=directory) as file:
        return os.dup(file.fileno())


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read(descriptor: int, at: int) -> Iterator[bytes]:
    while piece := os.pread(descriptor, _READ_BYTES, at):
        at += len(piece)
        yield piece
