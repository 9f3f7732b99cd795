"""Label names for the keys in lines: every invalid character becomes an underscore."""

from __future__ import annotations

import re
from functools import lru_cache

_BAD = re.compile(r"[^A-Za-z0-9_]")


@lru_cache(maxsize=4096)
def label_name(key: str) -> str:
    """``http-code`` as ``http_code``, ``1st`` as ``_1st``; empty for a key of spaces."""
    key = key.strip()
    if key[:1] in tuple("0123456789"):
        key = "_" + key
    return _BAD.sub("_", key)


@lru_cache(maxsize=4096)
def path_name(path: tuple[str, ...]) -> str:
    """A nested key as one name: ``("user", "first name")`` as ``user_first_name``."""
    parts = [part for part in (key.strip() for key in path) if part]
    if not parts:
        return ""
    return "_".join([label_name(parts[0]), *(_BAD.sub("_", part) for part in parts[1:])])
