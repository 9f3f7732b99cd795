"""The stream of a log record as SQL, from the columns of its resource; tael.model.streams computes the same labels.

The tables store labels under the names of their attributes: planning a statement that renames each of them would cost an insert more than
everything else about streams (bench/RESULTS.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tael.model.series import Labels, Matcher, labels_of
from tael.model.streams import INDEX_LABELS, PUSHED_SCOPE, stream_label
from tael.storage.clickhouse.rows import text

LABELS_TYPE: Final = "Map(LowCardinality(String), LowCardinality(String))"
_NAMES: Final = ", ".join(f"'{name}'" for name in INDEX_LABELS.values())


def labels(resource: str, service: str, pushed: str = "") -> str:
    """The labels of a resource's stream, given the map of its strings and its service, by attribute in order: those of the index, or all
    where ``pushed``, a condition, holds.
    """
    listed = f"k IN ({_NAMES})"
    named = f"({pushed} OR {listed})" if pushed else listed
    return f"mapSort(mapUpdate(mapFilter((k, v) -> {named} AND v != '', {resource}), map('service.name', {service})))"


def stream_id(tenant: str, resource: str, service: str, pushed: str = "") -> str:
    r"""The id of a stream: xxh3 of the tenant and of ``\xff attribute \xff value`` for each label, computed like a series' id
    (docs/formats.md).
    """
    own = labels(resource, service, pushed)
    return (
        f"xxh3(concat({tenant}, arrayStringConcat(arrayMap(p -> concat('\\xff', p.1, '\\xff', p.2), {own}::Array(Tuple(String, String))))))"
    )


def labels_of_row(tenant: str, resource: str, service: str, *, scope: str, stream: str) -> str:
    """The labels of a stored record's stream. One that was pushed before all of its labels were those of its stream has the id without
    them.
    """
    every, listed = (f"CAST({labels(resource, service, pushed)}, '{LABELS_TYPE}')" for pushed in ("true", ""))
    # ClickHouse would show the byte of a literal as it is, and operators' shells have to carry the expression (docs/operations.md).
    whole = stream_id(tenant, resource, service, "true").replace(r"'\xff'", "char(255)")
    return f"if({scope} = '{PUSHED_SCOPE}' AND {stream} = {whole}, {every}, {listed})"


def stream_matchers(matchers: Sequence[Matcher]) -> list[Matcher]:
    """Matchers of labels as matchers of the attributes that the table stores."""
    return [replace(matcher, name=INDEX_LABELS.get(matcher.name, matcher.name)) for matcher in matchers]


def labels_held(held: Mapping[bytes, bytes]) -> Labels:
    """The labels of a row, from its map of attributes."""
    return labels_of({stream_label(text(name)): text(value) for name, value in held.items()})
