"""The tree of a TraceQL query: field expressions over one span, spanset stages over a trace, and metrics over spansets.

``{ span.a = 1 && duration > 2s } >> { status = error } | by(name) | count() > 2`` is a Pipeline of a SpansetOperation, a GroupBy and a
ScalarFilter; ``| rate() by (name)`` after it makes it a metrics query.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field


class Type(enum.Enum):
    """The type of a static or an expression; an attribute's type is known only for a particular span."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    DURATION = "duration"
    STATUS = "status"
    KIND = "kind"
    NIL = "nil"
    ATTRIBUTE = "attribute"


NUMERIC = frozenset({Type.INT, Type.FLOAT, Type.DURATION})


class Scope(enum.Enum):
    """Where an attribute is looked up. ANY is a span's own attribute, or its resource's where the span has none of that name."""

    ANY = ""
    SPAN = "span"
    RESOURCE = "resource"
    EVENT = "event"
    LINK = "link"
    INSTRUMENTATION = "instrumentation"


class Intrinsic(enum.Enum):
    """Fields that every span has, with their names in an answer."""

    DURATION = "duration"
    NAME = "name"
    STATUS = "status"
    STATUS_MESSAGE = "statusMessage"
    KIND = "kind"
    ROOT_NAME = "rootName"
    ROOT_SERVICE = "rootServiceName"
    TRACE_DURATION = "traceDuration"
    NESTED_SET_LEFT = "nestedSetLeft"
    NESTED_SET_RIGHT = "nestedSetRight"
    NESTED_SET_PARENT = "nestedSetParent"
    TRACE_ID = "trace:id"
    SPAN_ID = "span:id"
    PARENT_ID = "span:parentID"
    CHILD_COUNT = "span:childCount"
    EVENT_NAME = "event:name"
    EVENT_TIME_SINCE_START = "event:timeSinceStart"
    LINK_TRACE_ID = "link:traceID"
    LINK_SPAN_ID = "link:spanID"
    INSTRUMENTATION_NAME = "instrumentation:name"
    INSTRUMENTATION_VERSION = "instrumentation:version"


_DURATIONS = {Intrinsic.DURATION, Intrinsic.TRACE_DURATION, Intrinsic.EVENT_TIME_SINCE_START}
_INTS = {Intrinsic.NESTED_SET_LEFT, Intrinsic.NESTED_SET_RIGHT, Intrinsic.NESTED_SET_PARENT, Intrinsic.CHILD_COUNT}
EVENT_INTRINSICS = frozenset({Intrinsic.EVENT_NAME, Intrinsic.EVENT_TIME_SINCE_START})
LINK_INTRINSICS = frozenset({Intrinsic.LINK_TRACE_ID, Intrinsic.LINK_SPAN_ID})
TRACE_ID_INTRINSICS = frozenset({Intrinsic.TRACE_ID, Intrinsic.LINK_TRACE_ID})


def intrinsic_type(intrinsic: Intrinsic) -> Type:
    """The type of an intrinsic's values; durations are nanoseconds."""
    if intrinsic in _DURATIONS:
        return Type.DURATION
    if intrinsic in _INTS:
        return Type.INT
    return {Intrinsic.STATUS: Type.STATUS, Intrinsic.KIND: Type.KIND}.get(intrinsic, Type.STRING)


STATUSES = {"unset": 0, "ok": 1, "error": 2}
"""OTLP's status codes by TraceQL's keyword."""
KINDS = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
"""OTLP's span kinds by TraceQL's keyword."""


@dataclass(frozen=True, slots=True)
class Static:
    """A literal. Durations are nanoseconds, status and kind are OTLP's numbers."""

    type: Type
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Attribute:
    """``span.http.route``, ``.http.route``, ``event."my key"``."""

    scope: Scope
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """An intrinsic as an expression: ``duration``, ``span:duration``."""

    intrinsic: Intrinsic


@dataclass(frozen=True, slots=True)
class Unary:
    """``-x`` or ``!x``."""

    op: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, comparison or ``&&``/``||`` of two expressions over one span."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Exists:
    """``x != nil``, or ``x = nil`` where ``wanted`` is false."""

    operand: Expression
    wanted: bool


Expression = Static | Attribute | Field | Unary | Binary | Exists
Named = Attribute | Field


@dataclass(frozen=True, slots=True)
class Filter:
    """``{ expression }``: the spans for which it is true."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class SpansetOperation:
    """``left op right`` of the spansets of one trace: ``&&``, ``||``, or a structural operator such as ``>>``, ``!>``, ``&~``."""

    op: str
    left: Spansets
    right: Spansets


@dataclass(frozen=True, slots=True)
class GroupBy:
    """``by(expression)``: one spanset a value."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Coalesce:
    """``coalesce()``: the groups of a trace joined again."""


@dataclass(frozen=True, slots=True)
class Select:
    """``select(field, ...)``: values to show in an answer besides those that were searched by."""

    fields: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """``count()``, or ``min``, ``max``, ``sum``, ``avg`` of an expression over a spanset."""

    op: str
    expression: Expression | None


@dataclass(frozen=True, slots=True)
class ScalarOperation:
    """Arithmetic with aggregates: parsed so that it can be refused by name."""

    op: str
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class ScalarFilter:
    """``count() > 2``: the spansets for whose aggregate the comparison holds."""

    op: str
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages, each applied to the result of the one before."""

    stages: tuple[Stage, ...]


Spansets = Filter | SpansetOperation | Pipeline
Scalar = Aggregate | ScalarOperation | Static | Pipeline
Stage = Filter | SpansetOperation | GroupBy | Coalesce | Select | ScalarFilter | Pipeline | Aggregate
Leaf = Filter | GroupBy | Coalesce | Select | Aggregate | Static
"""A stage or scalar that contains no other."""


def leaves_of(stage: Stage | Scalar) -> Iterator[Leaf]:
    """The leaves of a stage, in the order of the text."""
    match stage:
        case Pipeline(stages=stages):
            for inner in stages:
                yield from leaves_of(inner)
        case SpansetOperation(left=left, right=right) | ScalarFilter(left=left, right=right) | ScalarOperation(left=left, right=right):
            yield from leaves_of(left)
            yield from leaves_of(right)
        case _:
            yield stage


@dataclass(frozen=True, slots=True)
class MetricsAggregate:
    """``rate() by (name)``, ``quantile_over_time(duration, 0.9)``: ``of`` is None for rate and count_over_time."""

    op: str
    of: Named | None = None
    by: tuple[Named, ...] = ()
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Compare:
    """``compare({ selection }, top, start, end)``: attributes of the selected spans against those of the others.

    ``start_ns`` and ``end_ns`` narrow the selection in time; 0 for the whole range.
    """

    selection: Filter
    top: int = 10
    start_ns: int = 0
    end_ns: int = 0


@dataclass(frozen=True, slots=True)
class TopK:
    """``topk(n)`` or ``bottomk(n)``: the n series with the largest or smallest value, at each step."""

    op: str
    n: int


@dataclass(frozen=True, slots=True)
class MetricsFilter:
    """``> 5``: the samples for which the comparison holds."""

    op: str
    value: float


SecondStage = TopK | MetricsFilter


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query; ``metrics`` is None for a search. Unknown hints are kept and ignored."""

    pipeline: Pipeline
    metrics: MetricsAggregate | Compare | None = None
    second: tuple[SecondStage, ...] = ()
    hints: dict[str, Static] = field(default_factory=dict)
