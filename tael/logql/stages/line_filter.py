"""``|= "text"``, ``!~ "regex"``, ``|> "<_> pattern"``, ``|= ip("10.0.0.0/8")``: lines are kept by their content."""

from __future__ import annotations

from collections.abc import Callable

from tael.logql.ast import NEGATIVE, LineFilter, LineText
from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.ip import ip_matcher
from tael.logql.stages.patterns import LinePattern
from tael.model.patterns import searched


def line_filter(stage: LineFilter) -> Run:
    """The stage as a function. Raises ValueError or Rejected for an invalid pattern."""
    matches = line_condition(stage)

    def run(row: Row) -> bool:
        return matches(row.line)

    return run


def line_condition(stage: LineFilter) -> Callable[[str], bool]:
    """A test whether a line is kept."""
    tests = [_test(stage.op, text) for text in stage.texts]
    only = tests[0]
    if stage.op in NEGATIVE:
        return lambda line: not only(line)
    return only if len(tests) == 1 else lambda line: any(test(line) for test in tests)


def _test(op: str, text: LineText) -> Callable[[str], bool]:
    if text.ip:
        if op not in ("|=", "!="):
            raise ValueError("ip: invalid operation")
        return ip_matcher(text.text)
    wanted = text.text
    if op in ("|=", "!="):
        return lambda line: wanted in line
    if op in ("|>", "!>"):
        return LinePattern(wanted).matches
    search = searched(wanted).search
    return lambda line: search(line) is not None
