"""The shards of a cluster as a process holds them: a client for each, and readers over each one's tiers."""

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
    """One ClickHouse client a shard, made when first asked for and closed at the end of the ``async with`` block."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings, self._tls = settings, ClientTls(settings)
        self._clients: dict[str, ClickHouse] = {}

    def client(self, url: str) -> ClickHouse:
        """The client of the server at ``url``, the same one for every caller: its connections and what it knows of the server are shared."""
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
    """The shards of the newest map as readers over their tiers; what is known of a shard's tiers and series is kept from map to map."""

    def __init__(self, manifests: ManifestReader, bucket_url: str) -> None:
        self._manifests = manifests
        self._bucket_url = bucket_url
        self._known: list[tuple[Tiers, ClickHouse, LabelCache]] = []

    def use(self, shards: Sequence[tuple[str, ClickHouse]]) -> None:
        """Read these shards from now on, in the order of their numbers: those that were there, and new ones after them."""
        for number, (name, client) in enumerate(shards[len(self._known) :], start=len(self._known)):
            self._known.append((Tiers(number, name, client, self._manifests, self._bucket_url), client, LabelCache()))

    def readers(self, build: Callable[[ClickHouse, Source, LabelCache], R]) -> list[TieredShard[R]]:
        """Each shard with the reader that ``build`` makes for every question, of its client, its tiers and its labels."""
        return [TieredShard(tiers, partial(_built, build, client, labels)) for tiers, client, labels in self._known]


def _built(build: Callable[[ClickHouse, Source, LabelCache], R], client: ClickHouse, labels: LabelCache, source: Source) -> R:
    return build(client, source, labels)
