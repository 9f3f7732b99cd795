"""Prints a tree on one line; parsing the text gives the same tree."""

from __future__ import annotations

from tael.logql.ast import (
    Binary,
    BothFilters,
    Decolorize,
    Drop,
    DurationFilter,
    EitherFilter,
    Expr,
    Extraction,
    Filtered,
    Grouping,
    IpFilter,
    JsonParser,
    Keep,
    LabelFilter,
    LabelFormat,
    LabelReplace,
    LineFilter,
    LineFormat,
    LineText,
    LogfmtParser,
    LogQuery,
    LogRange,
    Matching,
    NamedLabel,
    Number,
    NumberFilter,
    PatternParser,
    RangeAggregation,
    RegexpParser,
    SizeFilter,
    Stage,
    TextFilter,
    UnpackParser,
    Unwrap,
    Vector,
    VectorAggregation,
)
from tael.logql.quantities import go_duration, human_bytes
from tael.logql.template.values import go_g
from tael.model.series import Matcher
from tael.syntax.literals import decimal, duration, quoted


def printed(expr: Expr) -> str:  # noqa: PLR0911 - one line a kind of node
    """The whole expression."""
    match expr:
        case LogQuery():
            return printed_query(expr)
        case RangeAggregation():
            return _range_aggregation(expr)
        case VectorAggregation(op=op, expr=inner, grouping=grouping, param=param):
            first = "" if param is None else f"{param},"
            return f"{op}{printed_grouping(grouping)}({first}{printed(inner)})"
        case Binary(left=left, right=right):
            return f"({printed(left)} {printed_operator(expr)} {printed(right)})"
        case Number(value=value):
            return go_g(value)
        case Vector(value=value):
            return f"vector({value:f})"
        case LabelReplace(expr=inner):
            texts = (expr.dst, expr.replacement, expr.src, expr.regex)
            return f"label_replace({printed(inner)},{','.join(map(quoted, texts))})"


def printed_query(query: LogQuery) -> str:
    """A selector and its stages."""
    return " ".join([printed_selector(query.matchers), *map(printed_stage, query.stages)])


def printed_selector(matchers: tuple[Matcher, ...]) -> str:
    """``{a="b", c=~"d"}``."""
    return "{" + ", ".join(map(printed_matcher, matchers)) + "}"


def printed_matcher(matcher: Matcher) -> str:
    """``a="b"``."""
    return f"{matcher.name}{matcher.op}{quoted(matcher.value)}"


def printed_stage(stage: Stage) -> str:  # noqa: PLR0911 - one line a stage
    """A stage, including its pipe."""
    match stage:
        case LineFilter(op=op, texts=texts):
            return f"{op} {' or '.join(map(_line_text, texts))}"
        case Filtered(filter=condition):
            return f"| {printed_filter(condition)}"
        case JsonParser() | LogfmtParser() | RegexpParser() | PatternParser() | UnpackParser():
            return f"| {_parser(stage)}"
        case LineFormat(template=template):
            return f"| line_format {quoted(template)}"
        case LabelFormat(formats=formats):
            return "| label_format " + ",".join(f"{one.name}={one.value if one.rename else quoted(one.value)}" for one in formats)
        case Decolorize():
            return "| decolorize"
        case Drop(labels=labels) | Keep(labels=labels):
            word = "drop" if isinstance(stage, Drop) else "keep"
            return f"| {word} {','.join(map(_named, labels))}"


def _parser(stage: JsonParser | LogfmtParser | RegexpParser | PatternParser | UnpackParser) -> str:
    match stage:
        case JsonParser(extractions=extractions):
            return f"json{_extractions(extractions)}"
        case LogfmtParser(strict=strict, keep_empty=keep_empty, extractions=extractions):
            return f"logfmt{' --strict' * strict}{' --keep-empty' * keep_empty}{_extractions(extractions)}"
        case RegexpParser(pattern=pattern):
            return f"regexp {quoted(pattern)}"
        case PatternParser(pattern=pattern):
            return f"pattern {quoted(pattern)}"
        case UnpackParser():
            return "unpack"


def printed_filter(condition: LabelFilter) -> str:  # noqa: PLR0911 - one line a kind of filter
    """A label filter without its pipe."""
    match condition:
        case TextFilter(matcher=matcher):
            return printed_matcher(matcher)
        case NumberFilter(name=name, op=op, value=value):
            return f"{name}{op}{decimal(value)}"
        case DurationFilter(name=name, op=op, ns=ns):
            return f"{name}{op}{go_duration(ns)}"
        case SizeFilter(name=name, op=op, bytes=size):
            return f"{name}{op}{human_bytes(size)}"
        case IpFilter(name=name, op=op, pattern=pattern):
            return f"{name}{'=' if op == '==' else op}ip({quoted(pattern)})"
        case BothFilters(left=left, right=right):
            return f"( {printed_filter(left)} , {printed_filter(right)} )"
        case EitherFilter(left=left, right=right):
            return f"( {printed_filter(left)} or {printed_filter(right)} )"


def printed_unwrap(unwrap: Unwrap) -> list[str]:
    """The stages of an unwrap: itself, and the filters after it."""
    label = f"{unwrap.conversion}({unwrap.label})" if unwrap.conversion else unwrap.label
    return [f"| unwrap {label}", *(f"| {printed_filter(condition)}" for condition in unwrap.filters)]


def printed_range(span: LogRange) -> str:
    """``query | unwrap label[5m] offset 1m``."""
    parts = [printed_query(span.query), *(printed_unwrap(span.unwrap) if span.unwrap else ())]
    offset = f" offset {go_duration(span.offset_ns)}" if span.offset_ns else ""
    return f"{' '.join(parts)}[{duration(span.range_ns // 1_000_000)}]{offset}"


def printed_grouping(grouping: Grouping | None, comma: str = ",") -> str:
    """`` by (a,b)`` with a leading space; empty where everything is one group."""
    if grouping is None or not (grouping.without or grouping.labels):
        return ""
    return grouping_text(grouping, comma)


def grouping_text(grouping: Grouping, comma: str = ",") -> str:
    """`` by (a,b)``."""
    return f" {'without' if grouping.without else 'by'} ({comma.join(grouping.labels)})"


def printed_operator(expr: Binary, comma: str = ",") -> str:
    """The operator with ``bool`` and the matching, with ``comma`` between labels."""
    return f"{expr.op}{' bool' * expr.return_bool}{_matching(expr.matching, comma)}"


def _range_aggregation(expr: RangeAggregation) -> str:
    first = "" if expr.param is None else f"{decimal(expr.param)},"
    return f"{expr.op}({first}{printed_range(expr.range)}){grouping_text(expr.grouping) if expr.grouping else ''}"


def _matching(matching: Matching, comma: str) -> str:
    if not (matching.on or matching.labels or matching.card != "one-to-one"):
        return ""
    text = f" {'on' if matching.on else 'ignoring'} ({comma.join(matching.labels)})"
    if matching.card != "one-to-one":
        text += " group_left" if matching.card == "many-to-one" else " group_right"
        text += f" ({comma.join(matching.include)})" if matching.include else ""
    return text


def _line_text(text: LineText) -> str:
    return f"ip({quoted(text.text)})" if text.ip else quoted(text.text)


def _named(label: NamedLabel) -> str:
    return printed_matcher(label.matcher) if label.matcher else label.name


def _extractions(extractions: tuple[Extraction, ...]) -> str:
    return (" " + ",".join(f"{one.label}={quoted(one.expression)}" for one in extractions)) if extractions else ""
