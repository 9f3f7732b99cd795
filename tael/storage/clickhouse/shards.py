"""A process's view of the cluster's shards: a client for each, and readers over its tiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Self, TypeVar

from tael.runtime.settings import ClickHouseSettings
from tael.runtime.tls import ClientTls
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.series.labels import LabelCache
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.tiered import ManifestReader, TieredShard, Tiers

R = TypeVar("R")


class ShardClients:
    """One ClickHouse client for each server, created on first use and closed at the end of the ``async with`` block."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings, self._tls = settings, ClientTls(settings)
        self._clients: dict[str, ClickHouse] = {}

    def client(self, url: str) -> ClickHouse:
        """The client of the server at ``url``, the same one for every caller, so that connections are shared."""
        if url not in self._clients:
            chosen = self._settings
            self._clients[url] = ClickHouse(
                url, chosen.clickhouse_database, chosen.clickhouse_user, chosen.clickhouse_password, tls=self._tls
            )
        return self._clients[url]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.close()


class TieredShards:
    """Readers over the tiers of the shards in the newest map. The cached state of a shard's tiers and series is kept when the
    map changes.
    """

    def __init__(self, manifests: ManifestReader, bucket_url: str) -> None:
        self._manifests = manifests
        self._bucket_url = bucket_url
        self._known: list[tuple[Tiers, ClickHouse, LabelCache]] = []

    def use(self, shards: Sequence[tuple[str, ClickHouse]]) -> None:
        """Read these shards from now on, given in the order of their numbers: the known ones, followed by new ones."""
        for number, (name, client) in enumerate(shards[len(self._known) :], start=len(self._known)):
            self._known.append((Tiers(number, name, client, self._manifests, self._bucket_url), client, LabelCache()))

    def readers(self, build: Callable[[ClickHouse, Source, LabelCache], R]) -> list[TieredShard[R]]:
        """Each shard with a reader that ``build`` makes for every question from the shard's client, source and labels."""
        return [TieredShard(tiers, partial(_built, build, client, labels)) for tiers, client, labels in self._known]


def _built(build: Callable[[ClickHouse, Source, LabelCache], R], client: ClickHouse, labels: LabelCache, source: Source) -> R:
    return build(client, source, labels)
