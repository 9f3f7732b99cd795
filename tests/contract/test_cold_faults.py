"""The roll while the object store misbehaves: what is not certain is done again, and each row stays in exactly one place."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from tael.cluster.nats_kv import NatsKeyValue
from tael.errors import Retryable
from tael.objects import MinioObjectStore
from tael.runtime.config import Address
from tael.runtime.settings import ObjectStoreSettings
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
