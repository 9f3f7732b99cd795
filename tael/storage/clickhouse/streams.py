"""The stream of a log record as SQL, from the columns of its resource; tael.model.streams computes the same labels."""

from __future__ import annotations

from typing import Final

from tael.model.span import UNKNOWN_SERVICE
from tael.model.streams import INDEX_LABELS

_VALUES: Final = {label: f"toString(resource_string['{name}'])" for label, name in INDEX_LABELS.items()}
_VALUES["service_name"] = f"if({_VALUES['service_name']} = '', '{UNKNOWN_SERVICE}', {_VALUES['service_name']})"
_PAIRS: Final = ", ".join(f"('{label}', {value})" for label, value in _VALUES.items())
_SET: Final = f"arrayFilter(p -> p.2 != '', [{_PAIRS}])"
LABELS: Final = f"CAST(({_SET}.1, {_SET}.2), 'Map(String, String)')"
"""The index labels of a resource, by label."""


def stream_id(tenant: str) -> str:
    r"""xxh3 of the tenant and of ``\xff label \xff value`` for each label, as a series' id is made (docs/formats.md)."""
    return f"xxh3(concat({tenant}, arrayStringConcat(arrayMap(p -> concat('\\xff', p.1, '\\xff', p.2), {_SET}))))"
