"""Reads the values of lines, group by group, from an answer in the Native format: work for each group, and none for each line. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tael.model.series import Labels
from tael.storage.api import LogValues
from tael.storage.clickhouse import native


@dataclass(frozen=True, slots=True)
class ValueGroup:
    """A group whose stream's labels are still to be looked up."""

    stream: int
    values: LogValues

    def of(self, labels: Labels) -> LogValues:
        """The group with the labels of its stream."""
        return replace(self.values, labels=labels)


def groups(body: bytes) -> list[ValueGroup]:
    """The groups of an answer to ``log_query_builder.read_values``."""
    columns = native.read(body)
    if not columns:
        return []
    streams, known, levels, _, *arrays = columns[:7]
    times, serials, values = map(native.lists, arrays)
    words = native.strings(values.values)
    texts = [native.strings(column).tolist() for column in columns[7:]]
    rows = zip(native.numbers(streams).tolist(), native.numbers(known).tolist(), native.strings(levels).tolist(), strict=True)
    ends = times.offsets.tolist()
    found = []
    for place, (stream, is_known, level) in enumerate(rows):
        held = slice(ends[place], ends[place + 1])
        own = LogValues(
            (),
            bool(is_known),
            level,
            tuple(column[place] for column in texts),
            native.numbers(times.values)[held],
            native.numbers(serials.values)[held],
            words.words,
            np.asarray(words.index[held], np.int64),
        )
        found.append(ValueGroup(stream, own))
    return found
