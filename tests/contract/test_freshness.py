"""Answers say how fresh they are while a shard's writer is behind."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from nats.aio.client import Client

from services.query.freshness import Freshness
from tael.cluster.lease import Lease, writer_key
from tael.model.signals import TRACES
from tael.wal import codec
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.streams import wal_states
from tests.support.doubles import MemorySpans
from tests.support.nats import NatsServer
from tests.support.query import serving
from tests.support.writing import open_cluster

BEHIND = {"shard-0": 12.3, "shard-2": 45.67}
WARNING = "shard-2 is 46 s behind: data sent since then is missing from this result"


async def test_every_api_that_can_reports_freshness() -> None:
    """The native API as a number, Prometheus and Loki as a warning a shard."""
    async with serving(MemorySpans(), behind=lambda: BEHIND) as api:
        assert (await api.json("/api/v1/traces"))["lag_seconds"] == 45.7
        assert (await api.json("/api/v1/services"))["lag_seconds"] == 45.7
        assert (await api.json("/api/v1/logs"))["lag_seconds"] == 45.7
        assert WARNING in (await api.json("/prometheus/api/v1/query?query=up"))["warnings"]
        assert WARNING in (await api.json("/prometheus/api/v1/labels"))["warnings"]
        assert WARNING in (await api.json("/loki/api/v1/labels"))["warnings"]


async def test_a_fresh_answer_has_no_warning() -> None:
    """Neither a number nor a warning."""
    async with serving(MemorySpans()) as api:
        assert "lag_seconds" not in await api.json("/api/v1/traces")
        assert "warnings" not in await api.json("/prometheus/api/v1/query?query=up")


async def test_lag_is_the_age_of_what_waits(nats_server: NatsServer, nats_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows while the writer commits nothing, whatever the writer does, and ends with the commit."""
    now = [0.0]
    monkeypatch.setattr("services.query.freshness.time", SimpleNamespace(monotonic=lambda: now[0]))
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    freshness = Freshness(kv, wal_states(nats_client, "tael"), lambda: 1, 0.2)
    await kv.put(writer_key(0), Lease(holder="node", epoch=1).encode())
    await freshness.look()
    now[0] += 0.3
    await freshness.look()
    assert freshness.lags() == {}
    await JetStreamAppender(nats_client, "tael").append(0, TRACES, codec.encode("default", 1, b""), 1, "a")
    await freshness.look()
    assert freshness.lags() == {}
    now[0] += 0.3
    await freshness.look()
    assert freshness.lags() == {"shard-0": 0.3}
    await kv.put(writer_key(0), Lease(holder="node", epoch=1, committed=1).encode())
    await freshness.look()
    assert freshness.lags() == {}
