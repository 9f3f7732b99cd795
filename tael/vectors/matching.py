"""Vector matching: which series of the left side pair with which of the right, and which duplicates are refused.

Pairs are found once for a whole query, by labels; a mask says at which steps a pair exists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tael.errors import Rejected
from tael.model.series import METRIC_NAME, Bools, Labels, Longs
from tael.syntax.literals import quoted
from tael.vectors import vectors
from tael.vectors.values import Vector

NOT_EXPLICIT = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


@dataclass(frozen=True, slots=True)
class Rule:
    """``on(names)`` or ``ignoring(names)``; ``group`` is "left" or "right", the many side, or empty for one-to-one matching.

    ``include`` names the labels copied from the one side; ``fill_left`` and ``fill_right`` stand in for a missing sample of that side.
    """

    on: bool
    names: tuple[str, ...]
    group: str = ""
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None

    def signature(self) -> Callable[[Labels], Labels]:
        """A function from a label set to the labels in which two series must agree to match."""
        chosen = set(self.names) if self.on else {*self.names, METRIC_NAME}
        if self.on:
            # A list inside tuple() is measurably faster than a generator here, and this runs once a series.
            return lambda labels: tuple([pair for pair in labels if pair[0] in chosen])
        return lambda labels: tuple([pair for pair in labels if pair[0] not in chosen])


@dataclass(frozen=True, slots=True)
class Signatures:
    """For each series of both sides the number of its signature, below ``count``; ``labels`` are the signatures by number."""

    left: Longs
    right: Longs
    count: int
    labels: Sequence[Labels]


def signatures(left: Vector, right: Vector, rule: Rule) -> Signatures:
    """Number the signatures of both sides."""
    key = rule.signature()
    places: dict[Labels, int] = {}
    sides = [
        np.fromiter((places.setdefault(key(labels), len(places)) for labels in side.labels), np.int64, len(side.labels))
        for side in (left, right)
    ]
    return Signatures(sides[0], sides[1], len(places), list(places))


def any_of(present: Bools, of: Longs, count: int) -> Bools:
    """Whether a series of each signature has a sample, signature by step."""
    result = np.zeros((count, present.shape[1]), np.bool_)
    if len(of):
        # reduceat needs the rows of one signature side by side, and no empty run: absent signatures keep their False.
        order = np.argsort(of, kind="stable")
        found, starts = np.unique(of[order], return_index=True)
        result[found] = np.logical_or.reduceat(present[order], starts, axis=0)
    return result


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pair ``p`` is series ``left[p]`` and ``right[p]``, -1 where a fill value stands in; it exists at the steps where ``present[p]``."""

    left: Longs
    right: Longs
    present: Bools
    signature: Longs


def pairs(left: Vector, right: Vector, rule: Rule) -> Pairs:
    """All pairs. Raises Rejected with Prometheus' message where the one side has two series of one signature at the same step."""
    of = signatures(left, right, rule)
    one, one_of, side = (left, of.left, "left") if rule.group == "right" else (right, of.right, "right")
    # A duplicate is an error only at steps where the operation is evaluated at all.
    active = _active(left, right, rule)
    _check_unique(one, one_of, of, side, active)
    rows = _meeting(of)
    # One row for each pair, masked at the steps where a side is missing: labels are built once and not at every step.
    found = [Pairs(*rows, left.present[rows[0]] & right.present[rows[1]], of.left[rows[0]])]
    if rule.fill_right is not None:
        found.append(_filled(left, of.left, any_of(right.present, of.right, of.count), right=False))
    if rule.fill_left is not None:
        found.append(_filled(right, of.right, any_of(left.present, of.left, of.count), right=True))
    if len(found) == 1:
        return found[0]
    return Pairs(*(np.concatenate([getattr(part, name) for part in found]) for name in ("left", "right", "present", "signature")))


def check_given(met: Pairs, present: Bools, labels: Sequence[Labels], rule: Rule) -> None:
    """Refuse two results at one step with the same signature (one-to-one matching) or the same labels (grouped matching).

    ``present`` says where a pair gives a result: cells that a comparison filtered out do not count. Raises Rejected with Prometheus'
    message.
    """
    found, of = np.unique(met.signature, return_inverse=True)
    if len(found) == len(of):
        return
    count = len(found)
    if rule.group:
        places: dict[tuple[int, Labels], int] = {}
        of = np.array([places.setdefault(key, len(places)) for key in zip(of.tolist(), labels, strict=True)])
        count = len(places)
    if count < len(of) and vectors.overlap(present, of, count):
        raise Rejected(NOT_UNIQUE if rule.group else NOT_EXPLICIT)


def _active(left: Vector, right: Vector, rule: Rule) -> Bools:
    """The steps at which there is anything to match."""
    any_left: Bools = np.any(left.present, axis=0)
    any_right: Bools = np.any(right.present, axis=0)
    return any_left & any_right if rule.fill_left is None and rule.fill_right is None else any_left | any_right


def _meeting(of: Signatures) -> tuple[Longs, Longs]:
    """The join: every left row with every right row of the same signature."""
    order = np.argsort(of.right, kind="stable")
    ordered = of.right[order]
    begin, end = np.searchsorted(ordered, of.left), np.searchsorted(ordered, of.left, side="right")
    # The join without a Python loop: repeat each left row as often as it meets right ones, and count up inside each run.
    sizes = end - begin
    rows = np.repeat(np.arange(len(of.left)), sizes)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rows, order[np.repeat(begin, sizes) + within]


def _filled(side: Vector, of: Longs, met: Bools, *, right: bool) -> Pairs:
    rows, none = np.arange(len(of)), np.full(len(of), -1)
    # Fill only where no series of the signature has a partner at this step; one series' partner counts for all.
    return Pairs(none if right else rows, rows if right else none, side.present & ~met[of], of)


def _check_unique(one: Vector, of: Longs, known: Signatures, side: str, active: Bools) -> None:
    found, compact = np.unique(of, return_inverse=True)
    if len(found) == len(of):
        return
    # The first clash by group and step is reported, so that the message is the same in every run.
    clashes = np.argwhere((vectors.counted(one.present, compact, len(found)) > 1) & active)
    if len(clashes) == 0:
        return
    group, step = clashes[0].tolist()
    first, second = sorted(one.labels[row] for row in np.flatnonzero((compact == group) & one.present[:, step])[:2].tolist())
    raise Rejected(
        f"found duplicate series for the match group {shown(known.labels[found[group]])} on the {side} hand-side of the operation: "
        f"[{shown(first)}, {shown(second)}];many-to-many matching not allowed: matching labels must be unique on one side"
    )


def shown(labels: Labels) -> str:
    """A label set as Prometheus prints it: every label in braces, ``__name__`` too."""
    return "{" + ", ".join(f"{name}={quoted(value)}" for name, value in labels) + "}"
