"""Hides packages from libraries that would load them merely because they are installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import cast


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Within the block, importing these packages fails as if they were not installed, unless they are already loaded.

    For optional dependencies of a library that this process never uses. Imports after the block work.
    """
    modules = cast("dict[str, object]", sys.modules)
    hidden = [name for name in packages if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]
