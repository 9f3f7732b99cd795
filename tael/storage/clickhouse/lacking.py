"""Statements over columns that a shard may lack, while no coordinator has migrated it yet."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tael.errors import Unavailable
from tael.storage.clickhouse.client import QUERY_LIMITS, ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.rows import Row


async def asked(clickhouse: ClickHouse, statement: Statement, instead: Mapping[str, str], limits: Limits = QUERY_LIMITS) -> list[Row]:
    """The rows; for each column that ``instead`` names and the shard lacks, with the expression that stands there."""
    try:
        return await clickhouse.query(statement.sql, statement.parameters, limits)
    except Unavailable as error:
        lacked = next((column for column in instead if f"`{column}" in error.reason), None)
        if lacked is None:
            raise
    sql = re.sub(rf"\b{lacked}\b", lambda _: instead[lacked], statement.sql)
    others = {column: sql for column, sql in instead.items() if column != lacked}
    return await asked(clickhouse, Statement(sql, statement.parameters), others, limits)
