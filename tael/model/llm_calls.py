"""The LLM calls of a range of time as columns, and the usage of groups of them; pure.

Rows are spans of LLM calls, tools and agents; ``counted`` marks those whose usage no other row includes (tael.otlp.llm_usage).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from tael.model.series import Bools, Floats, Longs

DIMENSIONS: Final = ("service", "provider", "model", "response_model", "operation", "session_id", "user_id", "agent_name", "tool_name")
TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True)
class Words:
    """A dictionary-encoded column: row ``i`` is ``words[codes[i]]``, and words are distinct."""

    words: Sequence[str]
    codes: Longs

    def take(self, rows: Bools | Longs) -> Words:
        """Those rows."""
        return Words(self.words, self.codes[rows])


@dataclass(frozen=True, slots=True)
class LlmCalls:
    """``words`` has a column for each of DIMENSIONS, ``tokens`` one for each of TOKENS, 0 where a call does not report it.

    ``cost_usd`` is NaN where it is neither reported nor computed; ``trace`` is a number that stands for the trace's id.
    """

    words: Mapping[str, Words]
    tokens: Mapping[str, Longs]
    cost_usd: Floats
    counted: Bools
    failed: Bools
    start_ns: Longs
    duration_ns: Longs
    trace: Longs

    def __len__(self) -> int:
        return len(self.start_ns)

    def take(self, rows: Bools) -> LlmCalls:
        """Those rows."""
        return LlmCalls(
            {name: words.take(rows) for name, words in self.words.items()},
            {name: tokens[rows] for name, tokens in self.tokens.items()},
            self.cost_usd[rows],
            self.counted[rows],
            self.failed[rows],
            self.start_ns[rows],
            self.duration_ns[rows],
            self.trace[rows],
        )


class LlmUsage(NamedTuple):
    """The usage of one group of calls: ``key`` has their words in the order of the grouping.

    ``unpriced`` counts calls without a known cost. ``durations_ns`` are the calls' durations, ascending.
    """

    key: tuple[str, ...]
    calls: int
    failed: int
    traces: int
    tokens: Mapping[str, int]
    cost_usd: float
    unpriced: int
    first_ns: int
    last_ns: int
    durations_ns: Longs


def grouped(calls: LlmCalls, by: Sequence[str]) -> list[LlmUsage]:
    """The usage of each group of rows with the same words in ``by``, in no particular order; without rows there is no group."""
    if not len(calls):
        return []
    group, first_rows = groups_of(calls, by)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group))
    found = []
    for start, end in zip((ends - np.bincount(group)).tolist(), ends.tolist(), strict=True):
        rows = order[start:end]
        costs = calls.cost_usd[rows]
        at = int(first_rows[group[rows[0]]])
        found.append(
            LlmUsage(
                tuple(calls.words[name].words[int(calls.words[name].codes[at])] for name in by),
                len(rows),
                int(calls.failed[rows].sum()),
                len(np.unique(calls.trace[rows])),
                {name: int(tokens[rows].sum()) for name, tokens in calls.tokens.items()},
                float(np.nansum(costs)),
                int(np.isnan(costs).sum()),
                int(calls.start_ns[rows].min()),
                int(calls.start_ns[rows].max()),
                np.sort(calls.duration_ns[rows]),
            )
        )
    return found


def groups_of(calls: LlmCalls, by: Sequence[str]) -> tuple[Longs, Longs]:
    """The number of each row's group, from 0 on, and the first row of each group."""
    combined = np.zeros(len(calls), np.int64)
    for name in by:
        words = calls.words[name]
        combined = combined * len(words.words) + words.codes
        # Renumbered after each dimension: the product of all sizes would not fit into 64 bits.
        _, combined = np.unique(combined, return_inverse=True)
    _, first, group = np.unique(combined, return_index=True, return_inverse=True)
    return group, first


def joined(parts: Sequence[LlmCalls]) -> LlmCalls:
    """The rows of all parts; there must be at least one."""
    if len(parts) == 1:
        return parts[0]
    return LlmCalls(
        {name: _joined_words([part.words[name] for part in parts]) for name in DIMENSIONS},
        {name: np.concatenate([part.tokens[name] for part in parts]) for name in TOKENS},
        np.concatenate([part.cost_usd for part in parts]),
        np.concatenate([part.counted for part in parts]),
        np.concatenate([part.failed for part in parts]),
        np.concatenate([part.start_ns for part in parts]),
        np.concatenate([part.duration_ns for part in parts]),
        np.concatenate([part.trace for part in parts]),
    )


def words_of(rows: Sequence[str]) -> Words:
    """The column with these words, one a row."""
    codes: dict[str, int] = {}
    places = [codes.setdefault(word, len(codes)) for word in rows]
    return Words(list(codes), np.array(places, np.int64))


def _joined_words(parts: Sequence[Words]) -> Words:
    codes: dict[str, int] = {}
    places = [np.array([codes.setdefault(word, len(codes)) for word in part.words], np.int64) for part in parts]
    return Words(list(codes), np.concatenate([place[part.codes] for place, part in zip(places, parts, strict=True)]))
