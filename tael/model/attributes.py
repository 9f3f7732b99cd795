"""Attribute values with their types, as OTLP's AnyValue has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

AttributeValue: TypeAlias = "str | bool | int | float | bytes | Sequence[AttributeValue] | Mapping[str, AttributeValue] | None"
"""None is AnyValue with no member set. ``bool`` before ``int`` wherever types are told apart: Python's bool is an int."""

Attributes: TypeAlias = Mapping[str, AttributeValue]
