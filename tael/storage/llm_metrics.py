"""Counted LLM calls as the series that OpenTelemetry's instrumentations would report, plus their cost; pure.

    gen_ai_client_token_usage_bucket _sum _count   LABELS, gen_ai_token_type (input, output), le
    gen_ai_client_cost_usd_total                   LABELS

Counters start at zero at the beginning of the range and never fall within it. A series begins with a zero before its first count and ends
ten minutes after its last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from tael.errors import TooLarge
from tael.model.llm_calls import LlmCalls, groups_of
from tael.model.series import METRIC_NAME, TOO_MANY_SAMPLES, Labels, Longs, Samples, labels_of
from tael.model.time import NS_PER_MS
from tael.storage.span_metrics import Series, Wanted, present, samples_of, slot_ms

USAGE: Final = "gen_ai_client_token_usage"
COST: Final = "gen_ai_client_cost_usd_total"
NAMES: Final = (*(USAGE + part for part in ("_bucket", "_sum", "_count")), COST)
_LABEL_OF: Final = {
    "service": "service",
    "provider": "gen_ai_provider_name",
    "operation": "gen_ai_operation_name",
    "model": "gen_ai_request_model",
    "response_model": "gen_ai_response_model",
}
"""The word columns of LlmCalls, and the labels made of them."""
LABEL_NAMES: Final = frozenset({METRIC_NAME, *_LABEL_OF.values(), "gen_ai_token_type", "le"})
_TYPES: Final = {"input": "input_tokens", "output": "output_tokens"}
BOUNDS: Final = tuple(4**power for power in range(14))
"""Upper bounds of the buckets in tokens: those that OpenTelemetry's semantic conventions advise."""


def llm_series(calls: LlmCalls, start_ms: int, end_ms: int, wanted: Wanted, max_samples: int) -> Samples:
    """The wanted series of ``start_ms < t <= end_ms``, by labels. Raises TooLarge when they may have more than ``max_samples`` samples."""
    ended_ms = (calls.start_ns + calls.duration_ns) // NS_PER_MS
    counted = calls.take(calls.counted & (ended_ms > start_ms) & (ended_ms <= end_ms))
    step = slot_ms(start_ms, end_ms)
    first, slots = start_ms // step, max(0, end_ms // step - start_ms // step) + 1
    times = (first + np.arange(slots, dtype=np.int64)) * step
    group, rows = groups_of(counted, tuple(_LABEL_OF))
    # For each group and type: the buckets and +Inf, the sum and the count; and the cost. Checked before anything of that size is allocated.
    if len(rows) * (len(_TYPES) * (len(BOUNDS) + 3) + 1) * slots > max_samples:
        raise TooLarge(TOO_MANY_SAMPLES)
    ended = (counted.start_ns + counted.duration_ns) // NS_PER_MS
    # Rounded up: a sample counts the calls that ended by its time. A call in the slot after the last one is left to a later range.
    slot = -(-ended // step) - first
    inside = slot < slots
    # Slots without calls hold a time so far back that ``present`` counts it neither as recent nor as counted (it tests for >= 0).
    newest = np.full((len(rows), slots), -(1 << 40), np.int64)
    np.maximum.at(newest, (group[inside], slot[inside]), times[slot[inside]])
    there = present(newest, times)

    def series() -> Iterator[Series]:
        for number, row in enumerate(rows.tolist()):
            own = {label: counted.words[name].words[int(counted.words[name].codes[row])] for name, label in _LABEL_OF.items()}
            own_rows = inside & (group == number)
            for labels, values in _of_group(own, counted, np.flatnonzero(own_rows), slot, slots, wanted):
                yield labels, values, there[number]

    return samples_of(series(), times, start_ms)


def is_counted(labels: Labels) -> bool:
    """Whether these are labels of a series made here; an application's own metric of the same name has a ``job``."""
    own = dict(labels)
    return own.get(METRIC_NAME) in NAMES and "job" not in own


def label_sets(calls: LlmCalls) -> Iterator[Labels]:
    """The label sets of the series of these calls."""
    counted = calls.take(calls.counted)
    _, rows = groups_of(counted, tuple(_LABEL_OF))
    for row in rows.tolist():
        own = {label: counted.words[name].words[int(counted.words[name].codes[row])] for name, label in _LABEL_OF.items()}
        yield labels_of({METRIC_NAME: COST, **own})
        for kind in _TYPES:
            yield from (labels for labels, _ in _histogram(own, kind))


def _of_group(
    own: dict[str, str], calls: LlmCalls, rows: Longs, slot: Longs, slots: int, wanted: Wanted
) -> Iterator[tuple[Labels, np.typing.NDArray[np.float64]]]:
    cost = labels_of({METRIC_NAME: COST, **own})
    if wanted(cost):
        yield cost, np.cumsum(np.bincount(slot[rows], np.nan_to_num(calls.cost_usd[rows]), slots))
    for kind, column in _TYPES.items():
        chosen = [(labels, which) for labels, which in _histogram(own, kind) if wanted(labels)]
        if not chosen:
            continue
        tokens = calls.tokens[column][rows]
        reported = tokens > 0
        at, tokens = slot[rows][reported], tokens[reported]
        # side="left": a value equal to a bound belongs to its bucket, as ``le`` says.
        bucket = np.searchsorted(BOUNDS, tokens)
        for labels, which in chosen:
            if which == "sum":
                yield labels, np.cumsum(np.bincount(at, tokens, slots))
            else:
                # Classic buckets are cumulative: each counts all values up to its bound. ``count`` takes them all.
                kept = at if isinstance(which, str) else at[bucket <= which]
                yield labels, np.cumsum(np.bincount(kept, minlength=slots)).astype(np.float64)


def _histogram(own: dict[str, str], kind: str) -> Iterator[tuple[Labels, int | str]]:
    """The label sets of one histogram, each with the position of its bucket, or ``sum`` or ``count``."""
    own = {**own, "gen_ai_token_type": kind}
    for bucket, bound in enumerate((*BOUNDS, None)):
        yield labels_of({METRIC_NAME: f"{USAGE}_bucket", **own, "le": "+Inf" if bound is None else f"{bound}"}), bucket
    for part in ("sum", "count"):
        yield labels_of({METRIC_NAME: f"{USAGE}_{part}", **own}), part
