"""The errors of failed statements: ClickHouse's codes, texts and HTTP statuses.

The engine's own errors keep their codes; the codes named here are raised by the HTTP side itself. The statuses are those that a ClickHouse
26 server sends.
"""

from __future__ import annotations

import re
from typing import Final

BAD_ARGUMENTS: Final = (36, "BAD_ARGUMENTS")
SYNTAX_ERROR: Final = (62, "SYNTAX_ERROR")
UNKNOWN_TYPE_OF_QUERY: Final = (78, "UNKNOWN_TYPE_OF_QUERY")
INTO_OUTFILE_NOT_ALLOWED: Final = (358, "INTO_OUTFILE_NOT_ALLOWED")
UNKNOWN_SETTING: Final = (115, "UNKNOWN_SETTING")
READONLY: Final = (164, "READONLY")
TOO_MANY_SIMULTANEOUS_QUERIES: Final = (202, "TOO_MANY_SIMULTANEOUS_QUERIES")
QUERY_IS_TOO_LARGE: Final = (229, "QUERY_IS_TOO_LARGE")
QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: Final = (216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING")
CANNOT_DECOMPRESS: Final = (271, "CANNOT_DECOMPRESS")
SESSION_NOT_FOUND: Final = (372, "SESSION_NOT_FOUND")
SESSION_IS_LOCKED: Final = (373, "SESSION_IS_LOCKED")
INVALID_SESSION_TIMEOUT: Final = (374, "INVALID_SESSION_TIMEOUT")
UNKNOWN_COMPRESSION_METHOD: Final = (89, "UNKNOWN_COMPRESSION_METHOD")
ACCESS_DENIED: Final = (497, "ACCESS_DENIED")
AUTHENTICATION_FAILED: Final = (516, "AUTHENTICATION_FAILED")
UNKNOWN_EXCEPTION: Final = (1002, "UNKNOWN_EXCEPTION")

_STATUS: Final = {
    194: 401,
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    **dict.fromkeys((6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    159: 408,
    381: 411,
    229: 413,
    779: 415,
    48: 501,
    **dict.fromkeys((76, 209, 439), 503),
}
_CODE = re.compile(r"Code: (\d+)\.")


class StatementFailed(Exception):
    """A statement's failure as the client sees it. ``text`` begins with ``Code: N. DB::Exception:``, as a server's does."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(text)

    @property
    def status(self) -> int:
        """The HTTP status that a server sends for this code."""
        return _STATUS.get(self.code, 500)


def failed(kind: tuple[int, str], reason: str) -> StatementFailed:
    """An error of the HTTP side itself."""
    code, name = kind
    return StatementFailed(code, f"Code: {code}. DB::Exception: {reason} ({name})")


def from_engine(error: Exception) -> StatementFailed:
    """The engine's exception, with the code at the start of its text; 1002 if there is none."""
    text = str(error)
    match = _CODE.match(text)
    return StatementFailed(int(match[1]), text) if match else failed(UNKNOWN_EXCEPTION, text)
