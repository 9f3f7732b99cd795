"""Converts OTLP's attributes to label sets, and their values to text; pure."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping

import numpy as np
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tael.metrics.names import Names
from tael.model.attributes import Attributes, AttributeValue
from tael.otlp.anyvalue import decode_attributes

INTEGERS_BELOW = 1e21
"""Whole doubles below this are written without a decimal point or exponent."""


def text_of(value: AttributeValue) -> str:
    """A value as a label's text: strings unchanged, bytes as base64, everything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _plain(value: AttributeValue) -> object:
    if isinstance(value, bool) or value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value]


def _plain_float(value: float) -> object:
    if not math.isfinite(value):
        return number_text(value)
    return int(value) if value.is_integer() and abs(value) < INTEGERS_BELOW else value


def number_text(value: float) -> str:
    """A bound or quantile as a label's text: the shortest one that parses back to the same number, without an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")


def parse_attributes(encoded: Iterable[bytes]) -> Mapping[str, AttributeValue]:
    """Attributes from encoded KeyValues; the last value of a repeated key counts. Raises google.protobuf's DecodeError."""
    return decode_attributes(KeyValue.FromString(pair) for pair in encoded)


def labels_from(attributes: Attributes, names: Names, *, prefix: str = "") -> dict[str, str]:
    """Attributes as labels, without empty ones. Values whose keys become the same name are joined with ``;`` in the order of their keys.

    Raises ValueError for a key without any character that a label's name may have.
    """
    labels: dict[str, str] = {}
    # Sorted, because a joined value in the sender's order would make a new series whenever that order changes.
    for key in sorted(attributes):
        name, value = names.label(prefix + key), text_of(attributes[key])
        if not name:
            raise ValueError(f"attribute {key[:60]!r} has no character that a label's name may have")
        labels[name] = f"{labels[name]};{value}" if name in labels else value
    return {name: value for name, value in labels.items() if value}
