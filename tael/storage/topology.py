"""The port for services, their operations and the calls between them, and its composition over shards."""

from __future__ import annotations

from collections import Counter
from typing import Protocol, TypeAlias

from tael.model.time import TimeRange
from tael.storage.api import Answer
from tael.storage.gather import Merged

Operation: TypeAlias = "tuple[str, int]"
"""A span's name and OTLP kind."""
Calls: TypeAlias = "Counter[tuple[str, str]]"
"""The number of spans by (service of the parent, own service)."""


class TopologyReader(Protocol):
    """Reads names without reading whole spans. A service without a name is ``unknown_service``.

    Every method raises Retryable when the same query may be answered later, Rejected for one that no shard can answer as it stands, and
    TooLarge when it exceeds a limit.
    """

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[set[str]]:
        """The services with a span that ended in the range."""
        ...

    async def list_operations(self, tenant: str, service: str, time_range: TimeRange) -> Answer[set[Operation]]:
        """The names and kinds of a service's spans that ended in the range."""
        ...

    async def count_calls(self, tenant: str, time_range: TimeRange) -> Answer[Calls]:
        """The number of spans that started in the range, with a parent that started in it or within the hour before, by both services."""
        ...


class MergedTopology(Merged[TopologyReader]):
    """See TopologyReader."""

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[set[str]]:
        """See TopologyReader."""
        gathered = await self._gather.ask(lambda reader: reader.list_services(tenant, time_range))
        return Answer(set().union(*gathered.values), gathered.missing)

    async def list_operations(self, tenant: str, service: str, time_range: TimeRange) -> Answer[set[Operation]]:
        """See TopologyReader."""
        gathered = await self._gather.ask(lambda reader: reader.list_operations(tenant, service, time_range))
        return Answer(set().union(*gathered.values), gathered.missing)

    async def count_calls(self, tenant: str, time_range: TimeRange) -> Answer[Calls]:
        """See TopologyReader."""
        gathered = await self._gather.ask(lambda reader: reader.count_calls(tenant, time_range))
        return Answer(sum(gathered.values, Counter()), gathered.missing)
