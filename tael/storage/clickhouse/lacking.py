"""Statements over columns that a shard may lack, while no coordinator has migrated it yet."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from tael.errors import Unavailable
from tael.storage.clickhouse.client import QUERY_LIMITS, ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.rows import Row

T = TypeVar("T")


async def asked(clickhouse: ClickHouse, statement: Statement, instead: Mapping[str, str], limits: Limits = QUERY_LIMITS) -> list[Row]:
    """The rows; for each column that ``instead`` names and the shard lacks, with the expression that stands there."""
    return await answered(lambda sql: clickhouse.query(sql, statement.parameters, limits), statement.sql, instead)


async def answered(ask: Callable[[str], Awaitable[T]], sql: str, instead: Mapping[str, str]) -> T:
    """The same of any way to run a statement."""
    try:
        return await ask(sql)
    except Unavailable as error:
        lacked = next((column for column in instead if f"`{column}" in error.reason), None)
        if lacked is None:
            raise
    replaced = re.sub(rf"\b{lacked}\b", lambda _: instead[lacked], sql)
    return await answered(ask, replaced, {column: other for column, other in instead.items() if column != lacked})
