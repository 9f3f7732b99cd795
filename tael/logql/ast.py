"""The nodes of a LogQL expression. Frozen; durations are in nanoseconds, sizes in bytes. Parentheses have no node: they only shape the
tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tael.model.series import Matcher

Card: TypeAlias = Literal["one-to-one", "many-to-one", "one-to-many"]
LineOp: TypeAlias = Literal["|=", "!=", "|~", "!~", "|>", "!>"]
CompareOp: TypeAlias = Literal["==", "!=", ">", ">=", "<", "<="]
Conversion: TypeAlias = Literal["", "bytes", "duration", "duration_seconds"]

NEGATIVE = ("!=", "!~", "!>")
"""Line filters that keep the lines without a match."""


@dataclass(frozen=True, slots=True)
class LineText:
    """``"text"`` or ``ip("10.0.0.0/8")``: the operand of a line filter."""

    text: str
    ip: bool = False


@dataclass(frozen=True, slots=True)
class LineFilter:
    """``|= "a" or "b"``: a line stays when one of ``texts`` matches. A negative filter has one text: ``!= "a" or "b"`` is two filters."""

    op: LineOp
    texts: tuple[LineText, ...]


@dataclass(frozen=True, slots=True)
class TextFilter:
    """``| name="value"``, also ``!=``, ``=~`` and ``!~``; a missing label counts as the empty string."""

    matcher: Matcher


@dataclass(frozen=True, slots=True)
class NumberFilter:
    """``| name > 5``."""

    name: str
    op: CompareOp
    value: float


@dataclass(frozen=True, slots=True)
class DurationFilter:
    """``| name > 1m30s``."""

    name: str
    op: CompareOp
    ns: int


@dataclass(frozen=True, slots=True)
class SizeFilter:
    """``| name > 20MB``."""

    name: str
    op: CompareOp
    bytes: int


@dataclass(frozen=True, slots=True)
class IpFilter:
    """``| name = ip("192.168.0.0/16")``, also ``!=``."""

    name: str
    op: Literal["==", "!="]
    pattern: str


@dataclass(frozen=True, slots=True)
class BothFilters:
    """``left and right``, ``left, right`` or ``left right``."""

    left: LabelFilter
    right: LabelFilter


@dataclass(frozen=True, slots=True)
class EitherFilter:
    """``left or right``."""

    left: LabelFilter
    right: LabelFilter


LabelFilter: TypeAlias = "TextFilter | NumberFilter | DurationFilter | SizeFilter | IpFilter | BothFilters | EitherFilter"


@dataclass(frozen=True, slots=True)
class Extraction:
    """``label="expression"`` of a parser."""

    label: str
    expression: str


@dataclass(frozen=True, slots=True)
class JsonParser:
    """``| json``, or ``| json a="x.y[0]", b`` with ``extractions``."""

    extractions: tuple[Extraction, ...] = ()


@dataclass(frozen=True, slots=True)
class LogfmtParser:
    """``| logfmt --strict --keep-empty a="x", b``."""

    strict: bool = False
    keep_empty: bool = False
    extractions: tuple[Extraction, ...] = ()


@dataclass(frozen=True, slots=True)
class RegexpParser:
    """``| regexp "(?P<name>re)"``."""

    pattern: str


@dataclass(frozen=True, slots=True)
class PatternParser:
    """``| pattern "<ip> - <_> <method>"``."""

    pattern: str


@dataclass(frozen=True, slots=True)
class UnpackParser:
    """``| unpack``."""


@dataclass(frozen=True, slots=True)
class LineFormat:
    """``| line_format "{{.label}}"``."""

    template: str


@dataclass(frozen=True, slots=True)
class LabelFormatting:
    """``name=other`` (``rename``: the label ``value`` takes the name) or ``name="{{.template}}"``."""

    name: str
    value: str
    rename: bool


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """``| label_format a=b, c="{{.d}}"``."""

    formats: tuple[LabelFormatting, ...]


@dataclass(frozen=True, slots=True)
class Decolorize:
    """``| decolorize``."""


@dataclass(frozen=True, slots=True)
class NamedLabel:
    """``name`` or ``name="value"`` after ``drop`` and ``keep``."""

    name: str
    matcher: Matcher | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """``| drop a, b="c"``."""

    labels: tuple[NamedLabel, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """``| keep a, b="c"``."""

    labels: tuple[NamedLabel, ...]


@dataclass(frozen=True, slots=True)
class Filtered:
    """``| label_filter`` as a stage."""

    filter: LabelFilter


Parser: TypeAlias = JsonParser | LogfmtParser | RegexpParser | PatternParser | UnpackParser
Stage: TypeAlias = LineFilter | Filtered | Parser | LineFormat | LabelFormat | Decolorize | Drop | Keep


@dataclass(frozen=True, slots=True)
class LogQuery:
    """``{matchers} stages``."""

    matchers: tuple[Matcher, ...]
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class Unwrap:
    """``| unwrap label``, ``| unwrap conversion(label)``, and the label filters after it."""

    label: str
    conversion: Conversion = ""
    filters: tuple[LabelFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class LogRange:
    """``query | unwrap … [range] offset``."""

    query: LogQuery
    range_ns: int
    offset_ns: int = 0
    unwrap: Unwrap | None = None


@dataclass(frozen=True, slots=True)
class Grouping:
    """``by (labels)`` or ``without (labels)``."""

    labels: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True, slots=True)
class RangeAggregation:
    """``op(param, range) by (…)``; ``param`` is the quantile of ``quantile_over_time``."""

    op: str
    range: LogRange
    grouping: Grouping | None = None
    param: float | None = None


@dataclass(frozen=True, slots=True)
class VectorAggregation:
    """``op by (…) (param, expr)``; without a grouping everything is one group."""

    op: str
    expr: Metric
    grouping: Grouping | None = None
    param: int | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """``on(labels)`` or ``ignoring(labels)`` with ``group_left(include)`` (many-to-one) or ``group_right(include)``."""

    card: Card = "one-to-one"
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """``left op bool matching right``."""

    op: str
    left: Metric
    right: Metric
    matching: Matching = Matching()
    return_bool: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """``1.5``; arithmetic between numbers is evaluated by the parser."""

    value: float


@dataclass(frozen=True, slots=True)
class Vector:
    """``vector(1)``: one series without labels."""

    value: float


@dataclass(frozen=True, slots=True)
class LabelReplace:
    """``label_replace(expr, "dst", "replacement", "src", "regex")``."""

    expr: Metric
    dst: str
    replacement: str
    src: str
    regex: str


Metric: TypeAlias = "RangeAggregation | VectorAggregation | Binary | Number | Vector | LabelReplace"
Expr: TypeAlias = "LogQuery | Metric"


def children(expr: Expr) -> tuple[Metric, ...]:
    """The metric expressions directly below, in the order in which they are written."""
    match expr:
        case Binary(left=left, right=right):
            return (left, right)
        case VectorAggregation(expr=inner) | LabelReplace(expr=inner):
            return (inner,)
        case _:
            return ()


def ranges(expr: Expr) -> Iterator[RangeAggregation]:
    """The range aggregations of an expression, from left to right."""
    if isinstance(expr, RangeAggregation):
        yield expr
    for child in children(expr):
        yield from ranges(child)


def aggregates_by(expr: Expr, op: str) -> bool:
    """Whether an expression contains the vector aggregation ``op``."""
    return (isinstance(expr, VectorAggregation) and expr.op == op) or any(aggregates_by(child, op) for child in children(expr))
