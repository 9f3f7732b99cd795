"""A TraceQL tree as text, as used in error messages, group names and ``by(...)`` attributes."""

from __future__ import annotations

from tael.traceql.ast import (
    KINDS,
    STATUSES,
    Aggregate,
    Attribute,
    Binary,
    Coalesce,
    Exists,
    Expression,
    Field,
    Filter,
    GroupBy,
    Pipeline,
    Scalar,
    ScalarFilter,
    ScalarOperation,
    Select,
    SpansetOperation,
    Stage,
    Static,
    Type,
    Unary,
)
from tael.traceql.lexer import is_name

_DURATION_UNITS = ((3600 * 10**9, "h"), (60 * 10**9, "m"))


def show(node: Expression | Stage | Scalar) -> str:
    """The text of a node; parsing it again gives an equal node."""
    return _expression(node) if isinstance(node, Expression) else _stage(node)


def _expression(node: Expression) -> str:
    match node:
        case Static():
            return _static(node)
        case Attribute(scope=scope, name=name):
            return f"{scope.value}.{name if is_name(name) else _quoted(name)}"
        case Field(intrinsic=intrinsic):
            return intrinsic.value
        case Unary(op=op, operand=operand):
            return f"{op}{_wrapped(operand)}"
        case Exists(operand=operand, wanted=wanted):
            return f"{_wrapped(operand)} {'!=' if wanted else '='} nil"
        case Binary(op=op, left=left, right=right):
            return f"{_wrapped(left)} {op} {_wrapped(right)}"


def _stage(node: Stage | Scalar) -> str:  # noqa: PLR0911  # one line a kind of node
    match node:
        case Filter(expression=expression):
            return f"{{ {show(expression)} }}"
        case Aggregate(op=op, expression=expression):
            return f"{op}({show(expression) if expression else ''})"
        case GroupBy(expression=expression):
            return f"by({show(expression)})"
        case Coalesce():
            return "coalesce()"
        case Select(fields=fields):
            return f"select({', '.join(show(field) for field in fields)})"
        case Pipeline(stages=stages):
            return " | ".join(show(stage) for stage in stages)
        case SpansetOperation(op=op, left=left, right=right) | ScalarOperation(op=op, left=left, right=right):
            return f"({show(left)}) {op} ({show(right)})"
        case ScalarFilter(op=op, left=left, right=right):
            return f"{show(left)} {op} {show(right)}"
        case Static():
            return _static(node)


def show_duration(ns: int) -> str:
    """A duration in Go's format: ``1h2m3.5s``, ``1.5ms``, ``250µs``, ``0s``."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns < 10**9:
        unit, size = next(((u, s) for u, s in (("ms", 10**6), ("µs", 1000), ("ns", 1)) if ns >= s), ("s", 1))
        return f"{sign}{_decimal(ns, size)}{unit}"
    parts: list[str] = []
    for size, unit in _DURATION_UNITS:
        if ns >= size or parts:
            parts.append(f"{ns // size}{unit}")
            ns %= size
    return f"{sign}{''.join(parts)}{_decimal(ns, 10**9)}s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    return f"{whole}.{str(rest).rjust(len(str(size)) - 1, '0').rstrip('0')}" if rest else str(whole)


def _wrapped(expression: Expression) -> str:
    return f"({show(expression)})" if isinstance(expression, Binary | Exists) else show(expression)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _static(static: Static) -> str:  # noqa: PLR0911  # one line a type
    value = static.value
    match static.type:
        case Type.STRING:
            text = str(value)
            return f"`{text}`" if "`" not in text else _quoted(text)
        case Type.BOOL:
            return "true" if value else "false"
        case Type.DURATION:
            return show_duration(int(value or 0))
        case Type.STATUS:
            return next(name for name, code in STATUSES.items() if code == value)
        case Type.KIND:
            return next(name for name, code in KINDS.items() if code == value)
        case Type.NIL:
            return "nil"
        case _:
            return repr(value)
