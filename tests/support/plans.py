"""What a plan of ClickHouse (``EXPLAIN indexes = 1, json = 1``) says of indexes."""

from __future__ import annotations

from typing import Any


def indexes_of(plan: Any) -> list[dict[str, Any]]:
    """The indexes that it uses, wherever it does."""
    if isinstance(plan, list):
        return [index for part in plan for index in indexes_of(part)]
    if not isinstance(plan, dict):
        return []
    return [*plan.get("Indexes", []), *(index for part in plan.values() for index in indexes_of(part))]
