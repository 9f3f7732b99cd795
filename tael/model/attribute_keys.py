"""Attribute keys that are suggested to the writer of a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tael.model.predicate import FieldScope, Kind

AttributeSignal: TypeAlias = Literal["traces", "logs"]
ValueScope: TypeAlias = Literal["attribute", "resource"]
"""The scopes whose values are kept too."""


@dataclass(frozen=True, slots=True)
class AttributeKey:
    """A key, its scope, and the type of its values; None for a type that is not a field's, such as an array.

    A key with values of several types is listed once for each. In events, links and instrumentation scopes only strings are distinguished.
    """

    scope: FieldScope
    key: str
    kind: Kind | None
