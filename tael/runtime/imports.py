"""What an import loads besides."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import cast


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Imports in the block find that these packages are not installed, unless they are loaded already.

    For what a library would load where it can and this process would never use; whoever imports one of them later gets it.
    """
    modules = cast("dict[str, object]", sys.modules)
    hidden = [name for name in packages if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]
