"""Small files that may change while the process runs: read at the start, and checked for changes at most once a second.

Unusable files at the start keep the process from starting. Files that become unusable later are logged, and the last good content is kept.
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
    """An error's text without the path, which the caller adds."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


class WatchedFiles(Generic[T]):
    """A value that ``make`` builds from files (by the setting that names each), and rebuilds when one of them changes.

    ``make`` raises OSError, ValueError or Rejected for unusable files, and ``why`` turns that into words. Raises BadSettings when the files
    are unusable at the start.
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
        """The newest value that could be built."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_SECONDS:
            self._look()
        return self._value

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            # Set before the files are read, so that an unusable file is logged once, not every second until it is repaired.
            self._seen = stamps
            self._value = self._make()
        except (OSError, ValueError, Rejected) as error:
            log.warning("cannot reload files; keeping what was read before", files=self._named(), reason=self._why(error))
        else:
            log.info("reloaded", files=self._named())

    def _stamps(self) -> list[tuple[int, int, int]]:
        found = [path.stat() for path in self._files.values()]
        # Including the inode: a file put in place by a rename may have the size and time of the previous one.
        return [(file.st_ino, file.st_mtime_ns, file.st_size) for file in found]

    def _named(self) -> str:
        return ", ".join(f"{variable}={str(path)!r}" for variable, path in self._files.items())


class WatchedFile(WatchedFiles[T]):
    """The value that ``parse`` makes of one file's text. ``parse`` raises Rejected for a bad text; ``variable`` names the file's
    setting.
    """

    def __init__(self, path: Path, parse: Callable[[str], T], variable: str) -> None:
        super().__init__({variable: path}, lambda: parse(path.read_text()))
