"""info(): add the labels of the info series (``target_info``) with the same ``instance`` and ``job``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tael.errors import Rejected
from tael.model.series import METRIC_NAME, TARGET_INFO, Bools, Floats, Labels, Matcher
from tael.promql.functions.record import Arguments, Function
from tael.vectors import matching, vectors
from tael.vectors.values import Vector

IDENTIFYING = ("instance", "job")
_DEFAULT = (Matcher(METRIC_NAME, "=", TARGET_INFO),)


def info(base: Vector, infos: Vector, times_ms: Floats, matchers: Sequence[Matcher] | None, require_room: Callable[[int], None]) -> Vector:
    """``base`` with labels added from ``infos``: those that ``matchers`` name, or all. ``times_ms`` are the times of the samples in
    ``infos``.

    Series without a matching info series are kept as they are, or dropped where a matcher does not accept an empty label. Raises Rejected
    when two info series of one metric are equally new, or two metrics disagree on a label. ``require_room`` gets the size of the result
    while it grows.
    """
    names = [matcher for matcher in _DEFAULT if matchers is None] + [m for m in matchers or () if m.name == METRIC_NAME]
    wanted = {matcher.name for matcher in matchers or () if matcher.name != METRIC_NAME}
    optional = all(matcher.matches("") for matcher in matchers or () if matcher.name != METRIC_NAME)
    chooses = any(matcher.op in {"=", "=~"} for matcher in names)
    # An info series in the argument itself is returned unchanged: it would otherwise match itself.
    ignored = [chooses and all(m.matches(vectors.name_of(own)) for m in names) for own in base.labels]
    known = _index(infos, times_ms, [labels for labels, skip in zip(base.labels, ignored, strict=True) if not skip])
    parts = []
    for row, labels in enumerate(base.labels):
        if ignored[row]:
            parts.append((row, labels, base.present[row]))
        else:
            parts += [(row, own, there) for own, there in _enriched(labels, base.present[row], known, wanted, optional=optional)]
        require_room(len(parts) * base.values.shape[1])
    result = vectors.take(base, np.array([row for row, _, _ in parts], np.int64))
    present = np.array([there for _, _, there in parts], np.bool_).reshape(result.present.shape)
    return vectors.joined(replace(result, labels=[own for _, own, _ in parts], present=present))


@dataclass(frozen=True, slots=True)
class _Infos:
    """Info series of one metric and one identity: their labels, and a mask of the steps at which each is the newest."""

    labels: list[Labels]
    newest: list[Bools]


def _identity(labels: Labels) -> Labels:
    return tuple([pair for pair in labels if pair[0] in IDENTIFYING])


def _index(infos: Vector, times_ms: Floats, base: Sequence[Labels]) -> Mapping[Labels, Mapping[str, _Infos]]:
    wanted = {_identity(labels) for labels in base}
    found: dict[Labels, dict[str, list[int]]] = {}
    for row, labels in enumerate(infos.labels):
        if (identity := _identity(labels)) in wanted and identity:
            found.setdefault(identity, {}).setdefault(vectors.name_of(labels), []).append(row)
    return {identity: {name: _newest(infos, times_ms, rows) for name, rows in metrics.items()} for identity, metrics in found.items()}


def _newest(infos: Vector, times_ms: Floats, rows: list[int]) -> _Infos:
    present = infos.present[rows]
    if (infos.cells is not None) and (present & (infos.cells[rows] >= 0)).any():
        raise Rejected("info sample should be float")
    times = np.where(present, times_ms[rows], -np.inf)
    best = times.max(axis=0)
    # A process that restarted with other attributes has two info series until the older one leaves the lookback: the newer one counts.
    newest = present & (times == best)
    clash = np.flatnonzero(newest.sum(axis=0) > 1)
    if len(clash):
        first, second = np.flatnonzero(newest[:, clash[0]])[:2].tolist()
        at = int(best[clash[0]])
        raise Rejected(
            f"found duplicate series for info metric: existing {matching.shown(infos.labels[rows[first]])} @ {at}, "
            f"new {matching.shown(infos.labels[rows[second]])} @ {at}"
        )
    return _Infos([infos.labels[row] for row in rows], list(newest))


def _enriched(
    labels: Labels, present: Bools, known: Mapping[Labels, Mapping[str, _Infos]], wanted: set[str], *, optional: bool
) -> list[tuple[Labels, Bools]]:
    """The label sets that a series has over time, and a mask of the steps at which it has each."""
    # Info series come and go within the range, so a series' labels may change from step to step: each state becomes a series of its own.
    states: list[tuple[dict[str, str], Bools, bool]] = [({}, present, False)]
    own = {name for name, _ in labels}
    for metric in known.get(_identity(labels), {}).values():
        following = []
        for extra, when, met in states:
            left = when
            for info_labels, newest in zip(metric.labels, metric.newest, strict=True):
                if (both := when & newest).any():
                    following.append((_with(extra, info_labels, own, wanted), both, True))
                    left = left & ~newest
            if left.any():
                following.append((extra, left, met))
        states = following
    return [(tuple(sorted([*labels, *extra.items()])), when) for extra, when, met in states if (met or optional) and when.any()]


def _with(extra: dict[str, str], info_labels: Labels, own: set[str], wanted: set[str]) -> dict[str, str]:
    result = dict(extra)
    for name, value in info_labels:
        if name == METRIC_NAME or (wanted and name not in wanted):
            continue
        if result.get(name, value) != value:
            raise Rejected(f"conflicting label: {name}")
        if name not in own:
            result[name] = value
    return result


def _info(arguments: Arguments) -> Vector:
    base = arguments.vector(0)
    infos, times_ms = arguments.infos()
    return info(base, infos, times_ms, arguments.matchers(1) if len(arguments) > 1 else None, arguments.require_room)


FUNCTIONS = (Function("info", ("vector", "vector"), "vector", _info, variadic=1, experimental=True),)
