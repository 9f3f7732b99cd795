"""What storage gives in place of lines where that suffices: counts and sums, or the values of an unwrapped label. Pure.

Shards answer for exactly those lines about which they know everything needed without anybody reading them; the others are read row by row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from tael.logql.ast import Drop, Filtered, LineFilter, Stage, TextFilter
from tael.logql.errors import ERROR
from tael.logql.flat import FORMATS, Flat, is_member
from tael.logql.levels import LEVEL
from tael.logql.needs import countable, wanted
from tael.logql.samples import BYTES, Leaf
from tael.logql.stages.label_filter import names_read
from tael.model.log import LineFact
from tael.model.predicate import EVERYTHING, Predicate, all_of
from tael.model.series import Matcher
from tael.model.streams import INDEX_LABELS
from tael.vectors.values import Steps

SERVICE: Final = "service_name"
"""The only label that every stream has."""
COUNTED: Final = ("count_over_time", "rate", "bytes_over_time", "bytes_rate")
SUMMED: Final = ("sum_over_time", "avg_over_time", "rate")
"""What is made of the sum and the number of unwrapped labels."""
MAX_SLOTS: Final = 20_000
_NO_ERROR: Final = Filtered(TextFilter(Matcher(ERROR, "=", "")))


@dataclass(frozen=True, slots=True)
class Plan:
    """How a leaf is computed from what shards tell of the lines that satisfy ``predicate`` and of which they know all ``known`` facts; the
    others must be read.

    Slots are ``slot_ns`` long; ``by_level`` groups lines by level, ``by_stream`` by labels of streams. ``labels`` are those that
    distinguish the leaf's series. ``members`` are the labels that the parser of ``form`` finds in lines, of those lines that satisfy
    ``known_if``: some of ``labels``, and what ``stages`` read, which are filters that take or leave all lines of a group. ``unwrapped`` is
    the one whose values are the samples, if any.
    """

    predicate: Predicate
    known: tuple[LineFact, ...]
    slot_ns: int
    by_level: bool
    by_stream: bool
    labels: tuple[str, ...]
    members: tuple[str, ...] = ()
    known_if: Predicate = EVERYTHING
    stages: tuple[Stage, ...] = ()
    unwrapped: str = ""
    form: Flat | None = None

    @property
    def patterns(self) -> tuple[str, ...]:
        """For each of ``members`` a regular expression that finds it."""
        return tuple(map(self.form.pattern_of, self.members)) if self.form else ()

    @property
    def value_pattern(self) -> str:
        """A regular expression that finds the unwrapped label; empty without one."""
        return self.form.pattern_of(self.unwrapped) if self.form and self.unwrapped else ""


def counts(leaf: Leaf, steps: Steps) -> Plan | None:
    """How the leaf is made of counts or of sums of whole numbers, None where it is not."""
    # Every window then consists of whole slots: windows move by the step, and are one range long.
    range_ns = leaf.aggregation.range.range_ns
    slot_ns = math.gcd(steps.step_ms, range_ns) if steps.step_ms else range_ns
    span_ns = steps.end_ms - steps.start_ms + range_ns
    if not slot_ns or span_ns // slot_ns > MAX_SLOTS:
        return None
    unwrap = leaf.aggregation.range.unwrap
    if unwrap is None:
        return _plan(leaf, slot_ns, "") if leaf.aggregation.op in COUNTED else None
    plan = _plan(leaf, slot_ns, unwrap.label) if leaf.aggregation.op in SUMMED and not unwrap.conversion else None
    return replace(plan, known_if=all_of((plan.known_if, plan.form.is_whole(plan.unwrapped)))) if plan and plan.form else None


def values(leaf: Leaf) -> Plan | None:
    """How the leaf is made of the values of the unwrapped label, in one slot; None where it is not."""
    unwrap = leaf.aggregation.range.unwrap
    plan = _plan(leaf, 0, unwrap.label) if unwrap else None
    # Filters of the value are run on each value, and not on groups of lines, which would be as many as the lines.
    return plan and replace(plan, members=tuple(name for name in plan.members if name != plan.unwrapped))


def _plan(leaf: Leaf, slot_ns: int, unwrapped: str) -> Plan | None:
    form = next((form for form in FORMATS if form.parser in leaf.query.stages), None)
    stages, parsed = _without_parser(leaf, form)
    labels, tested = _grouped(leaf, parsed=parsed), _tested(leaf, form)
    if labels is None or not countable(stages) or (unwrapped and not (parsed and _is_unwrapped(leaf, labels))):
        return None
    read = {name for stage in tested if isinstance(stage, Filtered) and stage != _NO_ERROR for name in names_read(stage.filter)}
    needed: dict[LineFact, bool] = {
        "line": any(isinstance(stage, LineFilter) for stage in stages) or leaf.aggregation.op in BYTES,
        "labels": bool(labels & INDEX_LABELS.keys() - {SERVICE}),
        "level": LEVEL in labels | read or any(isinstance(stage, Filtered) for stage in stages),
        "no level": "level" in labels and not parsed,
    }
    known = tuple(name for name, is_needed in needed.items() if is_needed)
    members = tuple(sorted((labels | read) - {SERVICE, LEVEL})) if parsed else ()
    flat = form.known_if(tuple(sorted({*members, unwrapped} - {""}))) if form and parsed else EVERYTHING
    by_stream = bool(labels & INDEX_LABELS.keys())
    by_level = LEVEL in labels | read
    names = tuple(sorted(labels))
    return Plan(wanted(leaf.query), known, slot_ns, by_level, by_stream, names, members, flat, tested, unwrapped, form if parsed else None)


def _is_unwrapped(leaf: Leaf, labels: set[str]) -> bool:
    """Whether the unwrapped label is nothing but the samples' value, and failed lines are left out if they are named at all."""
    unwrap = leaf.aggregation.range.unwrap
    return (
        unwrap is not None
        and is_member(unwrap.label)
        and unwrap.label not in labels
        and all(condition == _NO_ERROR.filter for condition in unwrap.filters)
    )


def _without_parser(leaf: Leaf, form: Flat | None) -> tuple[tuple[Stage, ...], bool]:
    """The leaf's stages without those that are nothing to lines that ``known_if`` knows, and whether lines have to be known so: the parser,
    which fails none of them, a filter of the lines that failed, and behind it the filters of members, which are run on groups of lines.
    """
    stages = leaf.query.stages
    if form is None:
        return stages, False
    parsed = stages.index(form.parser)
    kept = tuple(
        stage
        for place, stage in enumerate(stages)
        if stage not in (form.parser, _NO_ERROR) and not (place > parsed and _is_of_members(stage))
    )
    # Where no label is read, no line is parsed, and none can fail.
    return kept, not leaf.hints().nothing


def _tested(leaf: Leaf, form: Flat | None) -> tuple[Stage, ...]:
    """The stages behind the parser to be run on the labels of a group of lines: filters of members, if there are any, and what becomes of
    the lines that these fail.
    """
    stages = leaf.query.stages
    behind = stages[stages.index(form.parser) :] if form else ()
    if not any(map(_is_of_members, behind)):
        return ()
    return tuple(stage for stage in behind if _is_of_members(stage) or stage == _NO_ERROR or isinstance(stage, Drop))


def _is_of_members(stage: Stage) -> bool:
    """Whether it is a filter that reads members of lines, and nothing else but the level."""
    if not isinstance(stage, Filtered):
        return False
    names = names_read(stage.filter)
    return any(name != LEVEL for name in names) and all(name == LEVEL or is_member(name) for name in names)


def _grouped(leaf: Leaf, *, parsed: bool) -> set[str] | None:
    """The labels that distinguish the leaf's series, None where shards cannot count by one of them."""
    grouping = leaf.grouping()
    if grouping is None or grouping.without:
        return None
    if parsed:
        # Another label of streams may be missing there, and be a member.
        return set(grouping.labels) if all(name in (SERVICE, LEVEL) or is_member(name) for name in grouping.labels) else None
    known = {*INDEX_LABELS, LEVEL, "level"}
    return set(grouping.labels) if known.issuperset(grouping.labels) else None
