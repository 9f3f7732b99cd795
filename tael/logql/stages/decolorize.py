"""``| decolorize``: the line without the escape sequences that color a terminal (ECMA-48)."""

from __future__ import annotations

import re
from typing import Final

from tael.logql.row import Row

_SEQUENCE: Final = re.compile(
    r"[\x1b\x9b][\[\]()#;?]*(?:(?:[a-zA-Z\d]*(?:;[a-zA-Z\d]*)*)?\x07|(?:\d{1,4}(?:;\d{0,4})*)?[\dA-PRZcf-ntqry=><~])", re.ASCII
)


def decolorize(row: Row) -> bool:
    """Remove the escape sequences; every line is kept."""
    if "\x1b" in row.line or "\x9b" in row.line:
        row.line = _SEQUENCE.sub("", row.line)
    return True
