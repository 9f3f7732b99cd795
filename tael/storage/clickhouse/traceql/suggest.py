"""Names and values to complete a TraceQL query with, from tables that are filled for this purpose; otherwise the spans have to be read."""

from __future__ import annotations

from typing import Final

from tael.model.attribute_keys import ValueScope
from tael.model.time import TimeRange
from tael.storage.clickhouse.attribute_keys import ClickHouseAttributeKeys
from tael.storage.clickhouse.client import SMALL_LIMITS, ClickHouse
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.source import Source
from tael.traceql.ast import Attribute, Field, Intrinsic, Named, Scope, Static, Type
from tael.traceql.spans import SERVICE

_WITH_VALUES: Final[dict[Scope, ValueScope]] = {Scope.SPAN: "attribute", Scope.RESOURCE: "resource"}


class Suggestions:
    """The suggestions of one shard for a range, to the hour, regardless of the rest of the query."""

    def __init__(self, clickhouse: ClickHouse, source: Source) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._keys = ClickHouseAttributeKeys(clickhouse, source)

    async def services(self, tenant: str, time_range: TimeRange) -> set[str]:
        """The services with spans in the range."""
        statement = list_services(self._source, tenant, time_range)
        return {text(service) for (service,) in await self._clickhouse.query(statement.sql, statement.parameters, SMALL_LIMITS)}

    async def values(self, tenant: str, time_range: TimeRange, named: Named, limit: int) -> set[Static] | None:
        """The first ``limit`` values of a field, in order; None if the spans have to be read."""
        if named == Field(Intrinsic.NAME):
            statement = list_names(self._source, tenant, time_range, limit)
            rows = await self._clickhouse.query(statement.sql, statement.parameters, SMALL_LIMITS)
            return {Static(Type.STRING, text(name)) for (name,) in rows}
        if not isinstance(named, Attribute) or named.scope not in _WITH_VALUES or named == SERVICE:
            return None
        known = await self._keys.known_values(tenant, "traces", _WITH_VALUES[named.scope], named.name, time_range, limit)
        if known is None:
            return None
        texts = {Static(Type.STRING, value) for value in known if isinstance(value, str)}
        return texts | {Static(Type.INT, value) for value in known if isinstance(value, int)}


def list_services(source: Source, tenant: str, time_range: TimeRange) -> Statement:
    """The distinct services."""
    where = Conditions(tenant)
    where.within_hours("hour", time_range)
    return Statement(f"SELECT DISTINCT service\nFROM {source.rows('span_names', tenant, time_range)}\nWHERE {where}", where.parameters)


def list_names(source: Source, tenant: str, time_range: TimeRange, limit: int) -> Statement:
    """The names of spans, ordered."""
    where = Conditions(tenant)
    where.within_hours("hour", time_range)
    where.parameters["limit"] = limit
    sql = (
        f"SELECT DISTINCT name\nFROM {source.rows('span_names', tenant, time_range)}\nWHERE {where}\nORDER BY name\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, where.parameters)
