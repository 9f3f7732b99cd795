"""The stream of a log record as SQL, from the columns of its resource; tael.model.streams computes the same labels.

The tables store labels under the names of their attributes: planning a statement that renames each of them would cost an insert more than
everything else about streams (bench/RESULTS.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tael.model.series import Labels, Matcher, labels_of
from tael.model.streams import INDEX_LABELS
from tael.storage.clickhouse.rows import text

LABELS_TYPE: Final = "Map(LowCardinality(String), LowCardinality(String))"
_LABELS: Final = {name: label for label, name in INDEX_LABELS.items()}
_NAMES: Final = ", ".join(f"'{name}'" for name in INDEX_LABELS.values())


def labels(resource: str, service: str) -> str:
    """The index labels of a resource, given the map of its strings and its service, by attribute in order."""
    return f"mapSort(mapUpdate(mapFilter((k, v) -> k IN ({_NAMES}) AND v != '', {resource}), map('service.name', {service})))"


def stream_id(tenant: str, resource: str, service: str) -> str:
    r"""The id of a stream: xxh3 of the tenant and of ``\xff attribute \xff value`` for each label, computed like a series' id (docs/formats.md)."""
    own = labels(resource, service)
    return (
        f"xxh3(concat({tenant}, arrayStringConcat(arrayMap(p -> concat('\\xff', p.1, '\\xff', p.2), {own}::Array(Tuple(String, String))))))"
    )


def label_of(attribute: str) -> str:
    """The label under which an attribute is shown."""
    return _LABELS.get(attribute, attribute)


def stream_matchers(matchers: Sequence[Matcher]) -> list[Matcher]:
    """Matchers of labels as matchers of the attributes that the table stores."""
    return [replace(matcher, name=INDEX_LABELS.get(matcher.name, matcher.name)) for matcher in matchers]


def labels_held(held: Mapping[bytes, bytes]) -> Labels:
    """The labels of a row, from its map of attributes."""
    return labels_of({label_of(text(name)): text(value) for name, value in held.items()})
