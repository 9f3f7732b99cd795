"""The stages of a query as functions over rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tael.errors import Rejected
from tael.logql.ast import (
    Decolorize,
    Drop,
    Filtered,
    JsonParser,
    Keep,
    LabelFilter,
    LabelFormat,
    LineFilter,
    LineFormat,
    LogfmtParser,
    PatternParser,
    RegexpParser,
    Stage,
    UnpackParser,
)
from tael.logql.errors import ParseError
from tael.logql.print import printed_stage
from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.decolorize import decolorize
from tael.logql.stages.drop_keep import drop, keep
from tael.logql.stages.formats import label_format, label_names, line_format, line_names
from tael.logql.stages.json_parser import json_parser
from tael.logql.stages.label_filter import label_filter, names_read
from tael.logql.stages.line_filter import line_filter
from tael.logql.stages.logfmt import logfmt_parser
from tael.logql.stages.pattern_parser import pattern_parser
from tael.logql.stages.regexp import regexp_parser
from tael.logql.stages.unpack import unpack

_WHOLE = {RegexpParser: "regexp", PatternParser: "pattern"}
"""Parsers that errors call by these names, instead of showing the stage."""


class Pipeline:
    """Runs ``stages`` on rows. Raises ParseError for a stage that cannot be run; ``now_ns`` is the time of a template's ``now``."""

    def __init__(self, stages: Sequence[Stage], *, now_ns: int = 0) -> None:
        self._runs = compiled_stages(stages, now_ns=now_ns)

    def keeps(self, row: Row) -> bool:
        """Apply the stages to the row in place; returns whether it is kept."""
        for run in self._runs:  # noqa: SIM110 - a generator costs as much as a cheap stage
            if not run(row):
                return False
        return True


def compiled_stages(stages: Sequence[Stage], filters: Iterable[LabelFilter] = (), *, now_ns: int = 0) -> list[Run]:
    """A function for each stage and each filter. Raises ParseError."""
    return [_compiled(stage, now_ns) for stage in (*stages, *(Filtered(one) for one in filters))]


def labels_read(stages: Iterable[Stage]) -> list[str]:
    """The labels that the stages read, so that parsers must find them."""
    names: list[str] = []
    for stage in stages:
        if isinstance(stage, Filtered):
            names += names_read(stage.filter)
        elif isinstance(stage, LineFormat):
            names += line_names(stage)
        elif isinstance(stage, LabelFormat):
            names += label_names(stage)
    return names


def _compiled(stage: Stage, now_ns: int) -> Run:
    try:
        return _run(stage, now_ns)
    except (ValueError, Rejected) as problem:
        kind = _WHOLE.get(type(stage))
        raise ParseError(f"invalid {kind} parser: {problem}" if kind else f"stage '{printed_stage(stage)}' : {problem}") from None


def _run(stage: Stage, now_ns: int) -> Run:  # noqa: PLR0911, C901 - one line a stage
    match stage:
        case LineFilter():
            return line_filter(stage)
        case Filtered(filter=condition):
            return label_filter(condition)
        case JsonParser():
            return json_parser(stage)
        case LogfmtParser():
            return logfmt_parser(stage)
        case RegexpParser(pattern=pattern):
            return regexp_parser(pattern)
        case PatternParser(pattern=pattern):
            return pattern_parser(pattern)
        case UnpackParser():
            return unpack
        case LineFormat():
            return line_format(stage, now_ns)
        case LabelFormat():
            return label_format(stage, now_ns)
        case Decolorize():
            return decolorize
        case Drop(labels=labels):
            return drop(labels)
        case Keep(labels=labels):
            return keep(labels)
