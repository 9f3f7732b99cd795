"""The port of questions about what there is: services, their operations, and who calls whom; and its composition over shards."""

from __future__ import annotations

from collections import Counter
from typing import Protocol, TypeAlias

from tael.model.time import TimeRange
from tael.storage.api import Answer
from tael.storage.gather import Merged

Operation: TypeAlias = "tuple[str, int]"
"""A span's name and OTLP kind."""
Calls: TypeAlias = "Counter[tuple[str, str]]"
"""Spans by the service of their parent and their own."""


class TopologyReader(Protocol):
    """Names, without the spans that have them. A service without a name is ``unknown_service``.

    Every method raises Unavailable or Overloaded when the same question may be answered later, TooLarge when it asks for too much.
    """

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[set[str]]:
        """Services with a span that ended in the range."""
        ...

    async def list_operations(self, tenant: str, service: str, time_range: TimeRange) -> Answer[set[Operation]]:
        """What a service's spans that ended in the range are called, and their kinds."""
        ...

    async def count_calls(self, tenant: str, time_range: TimeRange) -> Answer[Calls]:
        """Spans that started in the range and whose parent did so in it or within the hour before, by both services."""
        ...


class MergedTopology(Merged[TopologyReader]):
    """See TopologyReader."""

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[set[str]]:
        """See TopologyReader."""
        found = await self._gather.ask(lambda reader: reader.list_services(tenant, time_range))
        return Answer(set().union(*found.values), found.missing)

    async def list_operations(self, tenant: str, service: str, time_range: TimeRange) -> Answer[set[Operation]]:
        """See TopologyReader."""
        found = await self._gather.ask(lambda reader: reader.list_operations(tenant, service, time_range))
        return Answer(set().union(*found.values), found.missing)

    async def count_calls(self, tenant: str, time_range: TimeRange) -> Answer[Calls]:
        """See TopologyReader."""
        found = await self._gather.ask(lambda reader: reader.count_calls(tenant, time_range))
        return Answer(sum(found.values, Counter()), found.missing)
