"""Which labels of a record a metric query can tell apart, so that its other metadata need not be read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tael.logql.ast import Drop, JsonParser, Keep, LabelFormat, LineFormat, LogfmtParser, Stage
from tael.logql.samples import Leaf

_WHOLE: Final = re.compile(r"\$|\.(?![A-Za-z_])")
"""What a template that names all labels at once has to contain: the dot or a variable alone."""


def labels_told_apart(leaf: Leaf) -> frozenset[str] | None:
    """The names such that the samples of no line depend on its metadata under others, unless the line fails; None where all count."""
    hints, stages = leaf.hints(), leaf.query.stages
    if not (hints.required or hints.nothing) or any(_WHOLE.search(text) for text in _templates(stages)):
        return None
    return frozenset({*hints.required, *_named(stages)})


def _templates(stages: Iterable[Stage]) -> Iterator[str]:
    for stage in stages:
        if isinstance(stage, LineFormat):
            yield stage.template
        elif isinstance(stage, LabelFormat):
            yield from (one.value for one in stage.formats if not one.rename)


def _named(stages: Iterable[Stage]) -> Iterator[str]:
    """The labels that stages set or remove by name: a parser may stop at one that a record has already."""
    for stage in stages:
        if isinstance(stage, JsonParser | LogfmtParser):
            yield from (extraction.label for extraction in stage.extractions)
        elif isinstance(stage, LabelFormat):
            yield from (one.name for one in stage.formats)
        elif isinstance(stage, Drop | Keep):
            yield from (label.name for label in stage.labels)
