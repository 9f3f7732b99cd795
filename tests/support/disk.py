"""A file system small enough to be filled."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def small_disk(path: Path, mib: int = 48) -> Iterator[str]:
    """A small file system at ``path`` while the block runs; yields "" if it could be mounted, else why not (mounting takes privileges)."""
    path.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", path], capture_output=True, text=True, check=False)
    try:
        yield mounted.stderr.strip()
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", path], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full to the last block."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        for size in (1 << 20, 4096):
            while True:
                try:
                    os.write(descriptor, bytes(size))
                except OSError:
                    break
    finally:
        os.close(descriptor)
