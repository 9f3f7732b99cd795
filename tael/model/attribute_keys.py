"""Attribute keys as they are suggested to who writes a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tael.model.predicate import FieldScope, Kind

AttributeSignal: TypeAlias = Literal["traces", "logs"]
ValueScope: TypeAlias = Literal["attribute", "resource"]
"""The scopes of which values are kept too."""


@dataclass(frozen=True, slots=True)
class AttributeKey:
    """A key, where it stands, and of which type its values are; None for any other type than these of a field.

    A key of several types stands several times. Of events, links and instrumentation scopes only strings are told from the rest.
    """

    scope: FieldScope
    key: str
    kind: Kind | None
