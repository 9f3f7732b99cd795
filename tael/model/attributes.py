"""Attribute values with the types of OTLP's AnyValue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

AttributeValue: TypeAlias = "str | bool | int | float | bytes | Sequence[AttributeValue] | Mapping[str, AttributeValue] | None"
"""None is an AnyValue with no member set. Check for ``bool`` before ``int``: Python's bool is an int."""

Attributes: TypeAlias = Mapping[str, AttributeValue]
