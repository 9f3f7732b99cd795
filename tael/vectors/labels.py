"""Functions that look at labels alone: label_replace, label_join, the sorts, and the labels of absent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cmp_to_key

import numpy as np

from tael.errors import Rejected
from tael.model.patterns import compiled, expanded
from tael.model.series import METRIC_NAME, Labels, Matcher
from tael.vectors import vectors
from tael.vectors.values import Vector


def label_replace(vector: Vector, target: str, replacement: str, source: str, pattern: str, *, distinct: bool = True) -> Vector:
    """Set ``target`` to ``replacement`` where ``source`` matches; ``$1`` and ``${name}`` stand for captured groups.

    With ``distinct``, series that get the same labels are joined, or refused where samples collide; otherwise they stay separate.
    """
    try:
        regex = compiled(pattern)
    except Rejected:
        raise Rejected(f"invalid regular expression in label_replace(): {pattern}") from None
    if not vectors.is_label_name(target):
        raise Rejected(f"invalid destination label name in label_replace(): {target}")
    labels, hit = [], []
    for own in vector.labels:
        # Anchored at both ends, like every regular expression of PromQL; a label that is missing is the empty text.
        match = regex.fullmatch(dict(own).get(source, ""))
        hit.append(match is not None)
        labels.append(own if match is None else vectors.with_label(own, target, expanded(replacement, match)))
    return _relabelled(vector, labels, target, hit) if distinct else replace(vector, labels=labels)


def label_join(vector: Vector, target: str, separator: str, sources: Sequence[str]) -> Vector:
    """Set ``target`` to the values of the labels ``sources``, joined by ``separator``."""
    for name, word in [(source, "source") for source in sources] + [(target, "destination")]:
        if not vectors.is_label_name(name):
            raise Rejected(f"invalid {word} label name in label_join(): {name}")
    labels = []
    for own in vector.labels:
        values = dict(own)
        labels.append(vectors.with_label(own, target, separator.join(values.get(source, "") for source in sources)))
    return _relabelled(vector, labels, target, [True] * len(labels))


def _relabelled(vector: Vector, labels: list[Labels], target: str, hit: list[bool]) -> Vector:
    drop = vector.drop_name
    if drop is not None and target == METRIC_NAME:
        drop = drop & ~np.array(hit, np.bool_)
    return vectors.joined(replace(vector, labels=labels, drop_name=drop))


def sort_by_value(vector: Vector, *, descending: bool) -> Vector:
    """The floats of an instant query sorted by value, NaN last."""
    rows = np.flatnonzero(vectors.floats(vector)[:, 0])
    keys = vector.values[rows, 0]
    # The last key comes first in lexsort, so NaN is last in either direction.
    order = np.lexsort((-keys if descending else keys, np.isnan(keys)))
    return vectors.take(vector, rows[order])


def sort_by_label(vector: Vector, names: Sequence[str], *, descending: bool) -> Vector:
    """The series sorted by the values of ``names``, in natural order, then by all labels."""

    def compare(a: int, b: int) -> int:
        left, right = dict(vector.labels[a]), dict(vector.labels[b])
        for name in names:
            one, other = left.get(name, ""), right.get(name, "")
            if one != other:
                return -1 if naturally_before(one, other) else 1
        return (vector.labels[a] > vector.labels[b]) - (vector.labels[a] < vector.labels[b])

    order = sorted(range(len(vector.labels)), key=cmp_to_key(compare), reverse=descending)
    return vectors.take(vector, np.array(order, np.int64))


def naturally_before(a: str, b: str) -> bool:
    """Whether ``a`` sorts before ``b`` in natural order: runs of digits are compared as numbers."""
    ours: list[str] = re.findall(r"[0-9]+|[^0-9]+", a)
    theirs: list[str] = re.findall(r"[0-9]+|[^0-9]+", b)
    for own, other in zip(ours, theirs, strict=False):
        if own[0].isdigit() and other[0].isdigit():
            if int(own) != int(other):
                return int(own) < int(other)
        elif own != other:
            return own < other
    return len(ours) <= len(theirs) and a != b


def absent_labels(matchers: Sequence[Matcher]) -> Labels:
    """The labels that any series the matchers select must have: those named in exactly one matcher, an equality."""
    seen: set[str] = set()
    labels: dict[str, str] = {}
    for matcher in matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op == "=" and matcher.name not in seen:
            labels[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            # A second matcher of the name, or one that is no equality, leaves the value open.
            labels.pop(matcher.name, None)
    return tuple(sorted((name, value) for name, value in labels.items() if value))
