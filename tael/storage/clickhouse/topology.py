"""TopologyReader of one shard: names from the table ``red``, which counts spans by the minute; calls by joining spans with their
parents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tael.errors import TooLarge
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.storage.api import Answer
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.topology import Calls, Operation

_SLOT_NS: Final = 15 * NS_PER_SECOND
"""The length of a slot of the table ``red`` (migrations/0004_red.sql), which counts a span where it ends."""
_EARLIER_NS = 3600 * NS_PER_SECOND
_MOST: Final = 100_000
"""Services, operations of a service, or pairs of services in one answer."""


class ClickHouseTopology:
    """See TopologyReader."""

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[set[str]]:
        """See TopologyReader."""
        statement = list_services(self._source, tenant, time_range)
        return Answer({text(service) for (service,) in await self._ask(statement, "services")})

    async def list_operations(self, tenant: str, service: str, time_range: TimeRange) -> Answer[set[Operation]]:
        """See TopologyReader."""
        statement = list_operations(self._source, tenant, service, time_range)
        return Answer({(text(name), int(kind)) for name, kind in await self._ask(statement, "operations")})

    async def count_calls(self, tenant: str, time_range: TimeRange) -> Answer[Calls]:
        """See TopologyReader."""
        statement = count_calls(self._source, tenant, time_range)
        rows = await self._ask(statement, "pairs of services")
        return Answer(Counter({(text(parent), text(child)): int(calls) for parent, child, calls in rows}))

    async def _ask(self, statement: Statement, listed: str) -> Sequence[Sequence[Any]]:
        rows = await self._clickhouse.query(statement.sql, statement.parameters)
        # The statement asks for one row more than is answered, so that a list that was cut is known from one that just fits.
        if len(rows) > _MOST:
            raise TooLarge(f"the range has more than {_MOST:,} {listed}", where="time range", accepted="a shorter time range")
        return rows


def list_services(source: Source, tenant: str, time_range: TimeRange) -> Statement:
    """The distinct services."""
    where = _slots(tenant, time_range)
    return Statement(
        f"SELECT DISTINCT service\nFROM {source.rows('red', tenant, time_range)}\nWHERE {where}\nLIMIT {_MOST + 1}", where.parameters
    )


def list_operations(source: Source, tenant: str, service: str, time_range: TimeRange) -> Statement:
    """The distinct names and kinds of a service's spans."""
    where = _slots(tenant, time_range)
    where.add("service = {service:String}", service=service)
    return Statement(
        f"SELECT DISTINCT name, kind\nFROM {source.rows('red', tenant, time_range)}\nWHERE {where}\nLIMIT {_MOST + 1}", where.parameters
    )


def count_calls(source: Source, tenant: str, time_range: TimeRange) -> Statement:
    """Rows of service of the parent, service of the span, number of spans."""
    child, parent = Conditions(tenant), Conditions(tenant)
    child.within("start_time", time_range)
    child.add("parent_span_id != ''")
    # A parent starts before its children, possibly before the range; one that is older than this is not looked for.
    before = TimeRange(max(0, time_range.start_ns - _EARLIER_NS), time_range.end_ns)
    parent.within("start_time", before)
    # Both sides are in one statement, so the parent's start gets a parameter name of its own.
    earlier = str(parent).replace("{start:", "{parent_start:")
    parameters = child.parameters | {"parent_start": parent.parameters.get("start", 0)}
    sql = (
        "SELECT p.service, c.service, count()\n"  # noqa: S608  # names of ours and parameters
        f"FROM (SELECT trace_id, service, parent_span_id FROM {source.rows('spans', tenant, time_range)} WHERE {child}) AS c\n"
        f"INNER JOIN (SELECT trace_id, service, span_id FROM {source.rows('spans', tenant, before)} WHERE {earlier}) AS p\n"
        "ON p.trace_id = c.trace_id AND toString(p.span_id) = c.parent_span_id\n"
        f"GROUP BY p.service, c.service\nLIMIT {_MOST + 1}"
    )
    return Statement(sql, parameters)


def _slots(tenant: str, time_range: TimeRange) -> Conditions:
    """The slots that a range touches. A slot has the time at which it begins, so the one within which the range begins is before
    the range.
    """
    where = Conditions(tenant)
    where.within("slot", TimeRange(time_range.start_ns // _SLOT_NS * _SLOT_NS, time_range.end_ns))
    return where
