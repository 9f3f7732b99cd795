"""Imports that leave out packages which a library would load only because they are installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import cast


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Within the block, imports of these packages fail as if they were not installed, unless they are loaded already.

    For packages that a library loads where it finds them and this process would never use. Imports after the block work.
    """
    modules = cast("dict[str, object]", sys.modules)
    hidden = [name for name in packages if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]
