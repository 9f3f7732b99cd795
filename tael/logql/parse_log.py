"""The parser of selectors and of the stages of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from tael.logql.ast import (
    NEGATIVE,
    Decolorize,
    Drop,
    Extraction,
    Filtered,
    JsonParser,
    Keep,
    LabelFormat,
    LabelFormatting,
    LineFilter,
    LineFormat,
    LineOp,
    LineText,
    LogfmtParser,
    NamedLabel,
    PatternParser,
    RegexpParser,
    Stage,
    UnpackParser,
)
from tael.logql.parse_filters import MATCH_OPS, label_filter, matcher
from tael.logql.tokens import Tokens
from tael.model.series import Matcher

LINE_OPS: Final = ("|=", "!=", "|~", "!~", "|>", "!>")


def selector(tokens: Tokens) -> tuple[Matcher, ...]:
    """Parse ``{a="b", c=~"d"}``."""
    tokens.expect("{")
    if tokens.take("}"):
        return ()
    found = [matcher(tokens)]
    while tokens.take(","):
        found.append(matcher(tokens))
    tokens.expect("}", ",")
    return tuple(found)


def pipeline(tokens: Tokens) -> tuple[Stage, ...]:
    """Parse stages as long as there are any; ``| unwrap`` is not consumed."""
    stages: list[Stage] = []
    while True:
        if tokens.peek() in LINE_OPS:
            stages.extend(_line_filters(tokens))
        elif tokens.peek() == "|" and tokens.peek(1) != "unwrap":
            tokens.next()
            stages.append(_stage(tokens))
        else:
            return tuple(stages)


def _line_filters(tokens: Tokens) -> list[LineFilter]:
    op = cast("LineOp", tokens.next().kind)
    texts = [_line_text(tokens)]
    while tokens.peek() == "or" and tokens.peek(1) in ("STRING", "ip"):
        tokens.next()
        texts.append(_line_text(tokens))
    if tokens.peek() == "or":
        tokens.next()
        raise tokens.unexpected("STRING", "ip")
    return [LineFilter(op, (text,)) for text in texts] if op in NEGATIVE else [LineFilter(op, tuple(texts))]


def _line_text(tokens: Tokens) -> LineText:
    if tokens.peek() == "ip":
        return LineText(_ip(tokens), ip=True)
    return LineText(str(tokens.expect("STRING", "ip").value))


def _ip(tokens: Tokens) -> str:
    tokens.next()
    tokens.expect("(")
    text = tokens.text()
    tokens.expect(")")
    return text


def _stage(tokens: Tokens) -> Stage:
    kind = tokens.peek()
    if kind in ("IDENTIFIER", "("):
        return Filtered(label_filter(tokens))
    if kind not in _STAGES:
        raise tokens.unexpected()
    tokens.next()
    return _STAGES[kind](tokens)


def _json(tokens: Tokens) -> Stage:
    return JsonParser(_extractions(tokens))


def _logfmt(tokens: Tokens) -> Stage:
    flags = set()
    while tokens.peek() == "FUNCTION_FLAG":
        flags.add(tokens.next().text)
    return LogfmtParser("--strict" in flags, "--keep-empty" in flags, _extractions(tokens))


def _extractions(tokens: Tokens) -> tuple[Extraction, ...]:
    found: list[Extraction] = []
    while tokens.peek() == "IDENTIFIER":
        label = tokens.next().text
        found.append(Extraction(label, tokens.text() if tokens.take("=") else label))
        if not tokens.take(","):
            break
        if tokens.peek() != "IDENTIFIER":
            raise tokens.unexpected("IDENTIFIER")
    return tuple(found)


def _label_format(tokens: Tokens) -> Stage:
    formats = []
    while True:
        name = tokens.expect("IDENTIFIER").text
        tokens.expect("=")
        value = tokens.expect("IDENTIFIER", "STRING")
        rename = value.kind == "IDENTIFIER"
        formats.append(LabelFormatting(name, value.text if rename else str(value.value), rename))
        if not tokens.take(","):
            return LabelFormat(tuple(formats))


def _named(tokens: Tokens) -> tuple[NamedLabel, ...]:
    found = []
    while True:
        if tokens.peek(1) in MATCH_OPS:
            condition = matcher(tokens)
            found.append(NamedLabel(condition.name, condition))
        else:
            found.append(NamedLabel(tokens.expect("IDENTIFIER").text))
        if not tokens.take(","):
            return tuple(found)


_STAGES: Final[dict[str, Callable[[Tokens], Stage]]] = {
    "json": _json,
    "logfmt": _logfmt,
    "regexp": lambda tokens: RegexpParser(tokens.text()),
    "pattern": lambda tokens: PatternParser(tokens.text()),
    "unpack": lambda _: UnpackParser(),
    "line_format": lambda tokens: LineFormat(tokens.text()),
    "label_format": _label_format,
    "decolorize": lambda _: Decolorize(),
    "drop": lambda tokens: Drop(_named(tokens)),
    "keep": lambda tokens: Keep(_named(tokens)),
}
