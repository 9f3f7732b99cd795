"""Small files that may change while the process runs: read at the start, looked at again at most once a second.

Files that are bad at the start refuse the process. Those that turn bad later are logged, and what was read before stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from tael.errors import BadSettings, Rejected
from tael.runtime.observe import get_logger

log = get_logger("files")
T = TypeVar("T")
_LOOK_EVERY_SECONDS = 1.0


def reason(error: Exception) -> str:
    """An error in words, without the path, which stands beside it."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


class WatchedFiles(Generic[T]):
    """What ``make`` makes of files, by the setting that names each; made again once one of them has changed.

    ``make`` raises OSError, ValueError or Rejected for what cannot be used, which ``why`` says in words. Raises BadSettings when that is so at
    the start.
    """

    def __init__(self, files: Mapping[str, Path], make: Callable[[], T], why: Callable[[Exception], str] = reason) -> None:
        self._files, self._make, self._why = files, make, why
        self._looked_at = time.monotonic()
        try:
            self._seen = self._stamps()
            self._value = make()
        except (OSError, ValueError, Rejected) as error:
            raise BadSettings([f"{self._named()} cannot be used: {why(error)}"]) from error

    def read(self) -> T:
        """The newest value that could be made."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_SECONDS:
            self._look()
        return self._value

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            # Before the files are read: one that is bad is complained about once, and not each second until it is mended.
            self._seen = stamps
            self._value = self._make()
        except (OSError, ValueError, Rejected) as error:
            log.warning("cannot reload files; keeping what was read before", files=self._named(), reason=self._why(error))
        else:
            log.info("reloaded", files=self._named())

    def _stamps(self) -> list[tuple[int, int, int]]:
        found = [path.stat() for path in self._files.values()]
        # The inode too: a file that is put in place by a rename may have the size and the time of the one before.
        return [(file.st_ino, file.st_mtime_ns, file.st_size) for file in found]

    def _named(self) -> str:
        return ", ".join(f"{variable}={str(path)!r}" for variable, path in self._files.items())


class WatchedFile(WatchedFiles[T]):
    """What ``parse`` makes of one file's text; it raises Rejected for a bad one. ``variable`` is the setting that names the file."""

    def __init__(self, path: Path, parse: Callable[[str], T], variable: str) -> None:
        super().__init__({variable: path}, lambda: parse(path.read_text()))
