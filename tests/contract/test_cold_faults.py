"""The roll while the object store misbehaves: what is not certain is done again, and each row stays in exactly one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from tael.cluster.manifests import Manifests
from tael.cluster.nats_kv import NatsKeyValue
from tael.errors import Retryable
from tael.model.predicate import EVERYTHING
from tael.model.span import Span
from tael.model.time import ALL_TIME, HOUR_NS
from tael.objects import MinioObjectStore
from tael.runtime.config import Address
from tael.runtime.settings import ObjectStoreSettings
from tael.storage.api import Answer, SpanQuery
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.tiered import TieredShard, Tiers
from tests.support.cold_shard import Cold, finish
from tests.support.databases import MakeNode
from tests.support.faulty_store import FaultyStore, faulty
from tests.support.objects import ObjectServer, object_settings
from tests.support.ports import free_port
from tests.support.storage import of_service, open_tier, wire_span


@pytest.fixture
async def faults(
    migrated_nodes: MakeNode, objects: MinioObjectStore, object_server: ObjectServer, nats_client: Client
) -> AsyncIterator[tuple[Cold, FaultyStore]]:
    """A shard whose hot node and compactor reach the bucket through a proxy."""
    address = Address("127.0.0.1", free_port())
    settings = {**object_settings(), "TAEL_S3_URL": f"http://{address}"}
    kv = NatsKeyValue(nats_client, "tael")
    await kv.ensure()
    node = migrated_nodes(environment=settings)
    async with faulty(object_server.url, address) as store, open_tier([node]) as tier:
        spoiled = MinioObjectStore(ObjectStoreSettings.model_validate(settings))
        yield Cold(tier, spoiled, kv, url=settings["TAEL_S3_URL"]), store


async def test_a_store_that_gives_no_answer_costs_its_files_alone(faults: tuple[Cold, FaultyStore]) -> None:
    """What is hot is answered, with the names of the files; only one statement waits for the store."""
    cold, store = faults
    for stored in range(2):
        await cold.tier.store(of_service("shop", wire_span(stored * HOUR_NS)))
    await cold.roll()
    await cold.tier.store(of_service("shop", wire_span(2)))
    tiers = Tiers(cold.shard, "shard-0", cold.clickhouse, Manifests(cold.kv, cold.objects), cold.bucket_url)
    shard = TieredShard(tiers, lambda source: ClickHouseSpans(cold.clickhouse, source=source))

    async def found() -> Answer[list[Span]]:
        return await shard.ask(lambda reader: reader.find_spans("t1", SpanQuery(ALL_TIME, EVERYTHING)))

    assert (len((await found()).value), (await found()).missing) == (3, ())
    store.fault, store.where = "silent", "/spans/"
    first, asked = await found(), store.spoiled
    assert (len(first.value), len(first.missing)) == (1, 2)
    second = await found()
    assert (len(second.value), second.missing, store.spoiled) == (1, first.missing, asked)
    store.fault = ""
    while (await found()).missing:  # noqa: ASYNC110  # it is asked again after a while, by the clock
        await asyncio.sleep(0.5)
    assert len((await found()).value) == 3


async def test_each_row_stays_in_one_place(faults: tuple[Cold, FaultyStore]) -> None:
    """Whichever request fails and however: of files, and of the manifest's objects and heads."""
    cold, store = faults
    faulted = (("busy", "/spans/"), ("short", "/spans/"), ("late", "/pages/"), ("late", "/heads/"))
    for stored, (fault, where) in enumerate(faulted, start=1):
        await cold.tier.store(of_service("shop", wire_span(stored)))
        store.fault, store.where, store.spoiled = fault, where, 0
        with pytest.raises(Retryable):
            await finish(await cold.roller())
        assert store.spoiled
        store.fault = ""
        if not (await cold.manifest()).moving(["spans"]):
            assert (await cold.ledger())["spans"] == stored, (fault, where)
        await cold.roll()
        assert (await cold.ledger())["spans"] == stored, (fault, where)
