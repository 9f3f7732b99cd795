"""A small file of settings that may change while the process runs: read at the start, looked at again at most once a second.

A file that is bad at the start refuses the process. One that turns bad later is logged, and what was read before stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from tael.errors import BadSettings, Rejected
from tael.runtime.observe import get_logger

log = get_logger("files")
T = TypeVar("T")
_LOOK_EVERY_SECONDS = 1.0


class WatchedFile(Generic[T]):
    """What ``parse`` makes of a file's text; it raises Rejected for a bad one. ``variable`` is the setting that names the file.

    Raises BadSettings when the file cannot be used at the start.
    """

    def __init__(self, path: Path, parse: Callable[[str], T], variable: str) -> None:
        self._path, self._parse, self._variable = path, parse, variable
        self._looked_at = time.monotonic()
        try:
            self._seen = _stamp(path)
            self._value = parse(path.read_text())
        except (OSError, UnicodeDecodeError, Rejected) as error:
            raise BadSettings([f"{variable}={str(path)!r} cannot be used: {_why(error)}"]) from error

    def read(self) -> T:
        """The newest value that could be read."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_SECONDS:
            self._look()
        return self._value

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            stamp = _stamp(self._path)
            if stamp == self._seen:
                return
            self._seen = stamp
            self._value = self._parse(self._path.read_text())
        except (OSError, UnicodeDecodeError, Rejected) as error:
            log.warning(
                "cannot reload a file; keeping its previous content", setting=self._variable, file=str(self._path), reason=_why(error)
            )
        else:
            log.info("reloaded", setting=self._variable, file=str(self._path))


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
