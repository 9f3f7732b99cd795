"""``| pattern "<ip> - <_> <method>"``: the parts of a line as labels."""

from __future__ import annotations

from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.patterns import CapturePattern


def pattern_parser(pattern: str) -> Run:
    """The stage as a function. Raises ValueError for an invalid pattern."""
    captures = CapturePattern(pattern).captures

    def run(row: Row) -> bool:
        if not row.hints.skip(row.parsed):
            for name, value in captures(row.line):
                row.parse(name, value)
        return True

    return run
