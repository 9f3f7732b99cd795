"""Holds a request's body until its statement has read it: in memory while the node's budget lasts, beyond that in a file.

More than 64 KiB are held in a memory file (memfd), which the engine can read by its path without a copy.
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
    """The bytes that all spools of the node may hold in memory together. Not thread-safe."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = self._left = limit_bytes

    @property
    def used(self) -> int:
        """The bytes in use now."""
        return self._limit - self._left

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes; False when fewer are left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Give reserved bytes back."""
        self._left += size


class Spool:
    """Bytes that are appended once, then read from the start. Append and close in the event loop; read in one thread at a time.

    Up to ``small_bytes`` are held as they are, and do not count against the budget.
    """

    def __init__(self, budget: Budget, directory: Path, small_bytes: int = _SMALL_BYTES) -> None:
        self._budget = budget
        self._directory = directory
        self._small: list[bytes] = []
        self._small_bytes = small_bytes
        self._front = b""
        self._descriptor = -1
        self._taken = 0
        self._spilled = False
        self.size = 0

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self.size += len(chunk)
        if self._descriptor < 0 and self.size - len(self._front) <= self._small_bytes:
            self._small.append(chunk)
            return
        if self._descriptor < 0:
            self._descriptor = os.memfd_create("spool", os.MFD_CLOEXEC)
            # From here on all appended bytes are in the file, so that there is one place to read from.
            small, self._small = self._small, []
            for piece in small:
                self._write(piece)
        self._write(chunk)

    def _write(self, chunk: bytes) -> None:
        if not self._spilled:
            if self._budget.take(len(chunk)):
                self._taken += len(chunk)
            else:
                self._spill()
        _write_all(self._descriptor, chunk)

    def _spill(self) -> None:
        """Move the bytes from memory to a file on disk, and continue there."""
        held, self._descriptor, self._spilled = self._descriptor, _nameless_file(self._directory), True
        # Copied in pieces, as the whole must not be in memory once more.
        for piece in _read(held, 0):
            _write_all(self._descriptor, piece)
        os.close(held)
        self._budget.give(self._taken)
        self._taken = 0

    def prepend(self, chunk: bytes) -> None:
        """Insert a few bytes before all others; they are always held in memory."""
        self.size += len(chunk)
        self._front = chunk + self._front

    def start(self, size: int) -> bytes:
        """The first ``size`` bytes, or all if there are fewer."""
        rest = b"".join(self._small)[:size] if self._descriptor < 0 else os.pread(self._descriptor, size, 0)
        return (self._front + rest)[:size]

    def chunks(self, skip: int = 0) -> Iterator[bytes]:
        """The bytes after the first ``skip``, in pieces of a few megabytes at most."""
        front = self._front[skip:]
        if front:
            yield front
        skip = max(0, skip - len(self._front))
        if self._descriptor >= 0:
            yield from _read(self._descriptor, skip)
        else:
            for piece in self._small:
                if len(piece) > skip:
                    yield piece[skip:]
                skip = max(0, skip - len(piece))

    @contextlib.contextmanager
    def as_file(self, skip: int = 0) -> Iterator[str]:
        """The path of a file, readable by this process, with the bytes after the first ``skip``; copied only if necessary."""
        if self._descriptor >= 0 and not skip and not self._front:
            yield _path(self._descriptor)
            return
        # The engine can only read a file from its start, so skipping bytes costs a copy.
        copy = _nameless_file(self._directory) if self._spilled else os.memfd_create("rows", os.MFD_CLOEXEC)
        try:
            for chunk in self.chunks(skip):
                _write_all(copy, chunk)
            yield _path(copy)
        finally:
            os.close(copy)

    def close(self) -> None:
        """Free the memory and the file."""
        self._budget.give(self._taken)
        self._taken = 0
        self._small = []
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _nameless_file(directory: Path) -> int:
    """The descriptor of an unlinked file, which disappears when it is closed, at the latest with the process."""
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
