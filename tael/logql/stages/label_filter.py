"""``| status >= 400 and duration > 1s or remote = ip("10.0.0.0/8")``: lines are kept by their labels.

A value that is not a valid number, duration or size marks the line with an error, and the line is kept: only a text filter can remove it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tael.logql.arithmetic import RELATIONS
from tael.logql.ast import (
    BothFilters,
    DurationFilter,
    EitherFilter,
    IpFilter,
    LabelFilter,
    NumberFilter,
    SizeFilter,
    TextFilter,
)
from tael.logql.errors import ERROR
from tael.logql.quantities import go_duration_ns, go_float, size_bytes
from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.ip import ip_matcher
from tael.model.patterns import compiled
from tael.model.series import Matcher

LABEL_FILTER_ERROR: Final = "LabelFilterErr"


def condition(matcher: Matcher) -> Callable[[str], bool]:
    """A test whether a label's value satisfies a matcher."""
    wanted = matcher.value
    if matcher.op == "=":
        return lambda value: value == wanted
    if matcher.op == "!=":
        return lambda value: value != wanted
    fullmatch = compiled(wanted).fullmatch
    if matcher.op == "=~":
        return lambda value: fullmatch(value) is not None
    return lambda value: fullmatch(value) is None


def label_filter(stage: LabelFilter) -> Run:  # noqa: PLR0911 - one line a kind of filter
    """The filter as a function. Raises ValueError for an invalid IP pattern."""
    match stage:
        case BothFilters(left=left, right=right):
            one, other = label_filter(left), label_filter(right)
            # "&" and not "and", so that both sides run: the right one may mark the line with an error, and an "or" around may keep it.
            return lambda row: bool(one(row) & other(row))
        case EitherFilter(left=left, right=right):
            one, other = label_filter(left), label_filter(right)
            return lambda row: one(row) or other(row)
        case TextFilter(matcher=matcher):
            return _text(matcher)
        case IpFilter():
            return _ip(stage)
        case NumberFilter(name=name, op=op, value=value):
            return _quantity(name, op, value, go_float)
        case DurationFilter(name=name, op=op, ns=ns):
            return _quantity(name, op, ns, go_duration_ns)
        case SizeFilter(name=name, op=op, bytes=size):
            return _quantity(name, op, size, size_bytes)


def names_read(stage: LabelFilter) -> list[str]:
    """The labels that a filter reads."""
    match stage:
        case BothFilters(left=left, right=right) | EitherFilter(left=left, right=right):
            return [*names_read(left), *names_read(right)]
        case TextFilter(matcher=matcher):
            # It holds for any value, and for a missing label: parsers need not find the label.
            return [] if matcher.op == "=~" and matcher.value == ".*" else [matcher.name]
        case _:
            return [stage.name]


def _text(matcher: Matcher) -> Run:
    name, meets = matcher.name, condition(matcher)
    if name == ERROR:
        return lambda row: meets(row.error)
    return lambda row: meets(row.get(name) or "")


def _ip(stage: IpFilter) -> Run:
    name, wanted, contains = stage.name, stage.op == "==", ip_matcher(stage.pattern)

    def run(row: Row) -> bool:
        if row.error:
            return True
        value = row.get(name)
        return value is not None and contains(value) == wanted

    return run


def _quantity(name: str, op: str, wanted: float, read: Callable[[str], float]) -> Run:
    compare = RELATIONS[op]

    def run(row: Row) -> bool:
        text = row.get(name)
        if text is None:
            return False
        try:
            value = read(text)
        except ValueError as problem:
            if not row.error:
                row.error, row.details = LABEL_FILTER_ERROR, str(problem)
            return True
        return compare(value, wanted)

    return run
