"""The composition root: the targets of ``python -m services``, and the adapter behind each port.

Nothing else chooses an adapter. Vendor clients are imported where a target is built, so that a process loads only what it uses.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import REGISTRY

from tael.cluster.nats_kv import NatsKeyValue
from tael.cluster.shard import ShardAddress, ShardMap
from tael.cluster.status import ClusterStatus
from tael.model.lanes import shard_of_wal
from tael.runtime import http
from tael.runtime.config import Address, Settings
from tael.runtime.failpoint import fail_at
from tael.runtime.nats import connection
from tael.runtime.observe import configure_logging
from tael.runtime.service import Readiness, Stop
from tael.runtime.settings import NodeSettings
from tael.runtime.tls import ClientTls
from tael.wal.dead_letters import JetStreamDeadLetters
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.digests import JetStreamDigests
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import JetStreamStreams, wal_state, wal_states
from tael.wal.tail import Tails

if TYPE_CHECKING:
    from nats.aio.client import Client

    from services.compactor.settings import CompactorSettings
    from services.coordinator.settings import CoordinatorSettings
    from services.hotnode.settings import HotNodeSettings
    from services.ingest.settings import IngestSettings
    from services.ingest.writer.parts import Parts
    from services.query.settings import QuerySettings
    from services.serve.settings import ServeSettings
    from tael.runtime.settings import NatsSettings
    from tael.storage.clickhouse.shards import ShardClients, TieredShards
    from tael.storage.readers import Readers
    from tael.storage.rolling import RollStore


N = TypeVar("N", bound=NodeSettings)
R = TypeVar("R")
_COPY_SECONDS = 60.0
"""The deadline for reading payloads from a shard for the compactor; long, as no client waits for it."""
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound


@dataclass(frozen=True)
class Target:
    """A kind of process that can be started by name; ``model`` is its settings class as ``module:name``."""

    purpose: str
    model: str
    run: Callable[[Any, Stop], Awaitable[None]]

    def settings(self) -> type[Settings]:
        """The target's settings model."""
        module, _, name = self.model.partition(":")
        found: type[Settings] = getattr(importlib.import_module(module), name)
        return found


def all_settings() -> list[type[Settings]]:
    """Every settings model of the suite; a ``TAEL_`` variable that none of them reads is refused as a mistake."""
    return [target.settings() for target in TARGETS.values()]


async def ingest(settings: IngestSettings, stop: Stop) -> None:
    """Receivers → JetStream; JetStream → ClickHouse."""
    from services.ingest import app
    from services.ingest.telemetry import WriterMetrics
    from services.ingest.writer.parts import Parts
    from services.ingest.writer.prepare import DeltaPreparation
    from tael.model.signals import METRICS
    from tael.storage.clickhouse.shards import ShardClients
    from tael.storage.clickhouse.totals import ClickHouseTotals
    from tael.storage.clickhouse.writer import ASIDE_HOURS, MAX_HOURS, ClickHouseWriter

    # One Tails for all: from the appender's acknowledgements the readers learn how far a WAL reached, and when it lost entries.
    metrics, tails = WriterMetrics(REGISTRY), Tails()
    readiness = Readiness("nats", "shard map", "receivers")
    async with _process(settings, "ingest", readiness) as found, _nats(settings, "ingest") as client, ShardClients(settings) as shards:
        kv = NatsKeyValue(client, settings.cluster_id)
        readiness.set("nats")

        async def parts_of(shard_map: ShardMap, wal: int) -> Parts:
            clickhouse = shards.client(shard_map.shards[shard_of_wal(wal)].url)
            aside = wal != shard_of_wal(wal)
            return Parts(
                wal_number=wal,
                node_id=settings.node_id,
                kv=kv,
                wal=JetStreamReader(client, settings.cluster_id, wal, tails.tail(wal)),
                digests=JetStreamDigests(client, settings.cluster_id, wal),
                storage=ClickHouseWriter(clickhouse, max_hours=ASIDE_HOURS if aside else MAX_HOURS),
                inserts_at_once=1 if aside else 2,
                settings=settings,
                metrics=metrics,
                fail=fail_at(settings.failpoint),
                preparations={METRICS: DeltaPreparation(ClickHouseTotals(clickhouse), settings.delta_series)},
            )

        appender = JetStreamAppender(client, settings.cluster_id, in_flight_bytes=2 * settings.max_inflight_bytes, tails=tails)
        await app.run(found, stop, app.Ports(kv, appender, parts_of, wal_states(client, settings.cluster_id)), readiness)


async def query(settings: QuerySettings, stop: Stop) -> None:
    """Every shard's ClickHouse, and the bucket through it → the APIs."""
    from services.query import app
    from services.query.freshness import Freshness
    from tael.cluster.cold import ColdControl
    from tael.cluster.follow import follow_shard_map
    from tael.cluster.manifests import Manifests
    from tael.objects import MinioObjectStore
    from tael.storage.clickhouse.rolling import ClickHouseRolling
    from tael.storage.clickhouse.shards import ShardClients, TieredShards
    from tael.wal.live import NatsLiveBus

    readiness = Readiness("nats", "shard map", "listener")
    async with _process(settings, "query", readiness) as found, _nats(settings, "query") as client, ShardClients(settings) as shards:
        kv = NatsKeyValue(client, settings.cluster_id)
        readiness.set("nats")
        readers, use = _sharded_readers(settings, shards, TieredShards(Manifests(kv, MinioObjectStore(settings)), settings.bucket_url))
        states, shard_count = wal_states(client, settings.cluster_id), [0]
        status = ClusterStatus(kv, settings.cluster_id, settings.node_id, settings.lease_ttl_seconds, states)

        known: list[ShardMap] = []

        def stores() -> dict[int, RollStore]:
            return {one.index: ClickHouseRolling(shards.client(one.url), "") for one in (known[-1].shards if known else ())}

        def apply(shard_map: ShardMap) -> None:
            use(shard_map)
            known.append(shard_map)
            shard_count.append(len(shard_map.shards))
            readiness.set("shard map")

        async with follow_shard_map(kv, apply):
            await app.run(
                found,
                stop,
                kv=kv,
                readers=readers,
                bus=NatsLiveBus(client, settings.cluster_id),
                status=status,
                cold=ColdControl(kv, stores),
                letters=JetStreamDeadLetters(client, settings.cluster_id),
                appender=JetStreamAppender(client, settings.cluster_id),
                readiness=readiness,
                freshness=Freshness(kv, states, lambda: shard_count[-1], settings.warn_lag_seconds),
            )


def _sharded_readers(  # noqa: PLR0915  # a few for each port
    settings: QuerySettings, shards: ShardClients, tiered: TieredShards
) -> tuple[Readers, Callable[[ShardMap], None]]:
    """The readers of every port over all shards and tiers, and a function that sets the shard map."""
    from tael.storage.api import LogReader, SeriesReader, Shard, SpanCountReader, SpanReader
    from tael.storage.clickhouse.holdings import ClickHouseHoldings, TableHoldings
    from tael.storage.clickhouse.llm_calls import ClickHouseLlm
    from tael.storage.clickhouse.logs import ClickHouseLogs
    from tael.storage.clickhouse.long_traces import ClickHouseLongTraces
    from tael.storage.clickhouse.payloads import ClickHousePayloads
    from tael.storage.clickhouse.series.reader import ClickHouseSeries
    from tael.storage.clickhouse.span_counts import ClickHouseSpanCounts
    from tael.storage.clickhouse.spans import ClickHouseSpans
    from tael.storage.clickhouse.topology import ClickHouseTopology
    from tael.storage.clickhouse.traceql.reader import ClickHouseSpansets
    from tael.storage.gather import AllOf, Shards
    from tael.storage.holdings import HoldingReader, MergedHoldings
    from tael.storage.llm import LlmReader, MergedLlm
    from tael.storage.llm_series import LlmSeries
    from tael.storage.long_traces import LongTraceReader
    from tael.storage.merged import MergedLogs, MergedLongTraces, MergedSpanCounts, MergedSpans
    from tael.storage.merged_series import MergedSeries
    from tael.storage.payloads import MergedPayloads, PayloadReader
    from tael.storage.readers import Readers
    from tael.storage.span_series import SpanSeries
    from tael.storage.spansets import MergedSpansets, SpansetReader
    from tael.storage.topology import MergedTopology, TopologyReader

    seconds, prices = settings.shard_timeout_seconds, settings.read_prices()
    spans, logs = Shards[SpanReader](deadline_seconds=seconds), Shards[LogReader](deadline_seconds=seconds)
    spansets, topology = Shards[SpansetReader](deadline_seconds=seconds), Shards[TopologyReader](deadline_seconds=seconds)
    series, counts = Shards[SeriesReader](deadline_seconds=seconds), Shards[SpanCountReader](deadline_seconds=seconds)
    held, llm = Shards[HoldingReader](deadline_seconds=seconds), Shards[LlmReader](deadline_seconds=seconds)
    payloads, long_traces = Shards[PayloadReader](deadline_seconds=seconds), Shards[LongTraceReader](deadline_seconds=seconds)

    def use(shard_map: ShardMap) -> None:
        tiered.use([(shard.name, shards.client(shard.url)) for shard in shard_map.shards])
        spans.use(tiered.readers(lambda client, source, _: ClickHouseSpans(client, prices, source)))
        long_traces.use(tiered.readers(lambda client, source, _: ClickHouseLongTraces(client, prices, source)))
        logs.use(tiered.readers(lambda client, source, _: ClickHouseLogs(client, source, settings.logql_page_bytes)))
        spansets.use(tiered.readers(lambda client, source, _: ClickHouseSpansets(client, source)))
        topology.use(tiered.readers(lambda client, source, _: ClickHouseTopology(client, source)))
        series.use(tiered.readers(lambda client, source, labels: ClickHouseSeries(client, settings.promql_max_series, source, labels)))
        counts.use(tiered.readers(lambda client, source, _: ClickHouseSpanCounts(client, source)))
        llm.use(tiered.readers(lambda client, source, _: ClickHouseLlm(client, prices, source)))
        by_table = tiered.readers(lambda client, source, _: TableHoldings(client, source))
        held.use([Shard(shard.name, ClickHouseHoldings(shard)) for shard in by_table])
        payloads.use(tiered.readers(lambda client, source, _: ClickHousePayloads(client, source)))

    all_series = MergedSeries(AllOf[SeriesReader]([MergedSeries(series), SpanSeries(MergedSpanCounts(counts)), LlmSeries(MergedLlm(llm))]))
    return Readers(
        MergedSpans(spans),
        MergedLongTraces(long_traces),
        MergedLogs(logs),
        all_series,
        MergedSpansets(spansets),
        MergedTopology(topology),
        MergedHoldings(held),
        MergedPayloads(payloads),
        MergedLlm(llm),
    ), use


async def compactor(settings: CompactorSettings, stop: Stop) -> None:
    """Retention in ClickHouse; rolls from ClickHouse to the bucket on S3."""
    from services.compactor import app
    from tael.cluster.manifests import Manifests
    from tael.objects import MinioObjectStore
    from tael.storage.clickhouse.collecting import ClickHouseCollect
    from tael.storage.clickhouse.erase import ClickHouseErase
    from tael.storage.clickhouse.erase_cold import ClickHouseColdErase
    from tael.storage.clickhouse.payloads import ClickHousePayloads
    from tael.storage.clickhouse.rolling import ClickHouseRolling
    from tael.storage.clickhouse.schema import ClickHouseSchema
    from tael.storage.clickhouse.shards import ShardClients, TieredShards
    from tael.storage.clickhouse.stored_rows import ClickHouseRows
    from tael.storage.clickhouse.writer import ClickHouseWriter
    from tael.storage.gather import Shards
    from tael.storage.payloads import MergedPayloads, PayloadReader

    readiness = Readiness("nats", "object store")
    async with (
        _process(settings, "compactor", readiness) as found,
        _nats(settings, "compactor") as client,
        ShardClients(settings) as shards,
    ):
        readiness.set("nats")
        kv, objects = NatsKeyValue(client, settings.cluster_id), MinioObjectStore(settings)
        tiered = TieredShards(Manifests(kv, objects), settings.bucket_url)

        def payloads(all_shards: Sequence[ShardAddress]) -> PayloadReader:
            tiered.use([(shard.name, shards.client(shard.url)) for shard in all_shards])
            readers = tiered.readers(lambda client, source, _: ClickHousePayloads(client, source))
            return MergedPayloads(Shards[PayloadReader](readers, deadline_seconds=_COPY_SECONDS))

        await app.run(
            found,
            stop,
            kv=kv,
            objects=objects,
            schema=lambda shard: ClickHouseSchema(shards.client(shard.url), settings.clickhouse_engine),
            rows=lambda shard: ClickHouseRows(shards.client(shard.url)),
            rolls=lambda shard: ClickHouseRolling(shards.client(shard.url), settings.bucket_url),
            erases=lambda shard: ClickHouseErase(shards.client(shard.url)),
            collects=lambda shard: ClickHouseCollect(shards.client(shard.url)),
            writers=lambda shard: ClickHouseWriter(shards.client(shard.url)),
            payloads=payloads,
            letters=JetStreamDeadLetters(client, settings.cluster_id),
            cold_erases=lambda shard: ClickHouseColdErase(shards.client(shard.url), settings.bucket_url),
            wal_state=lambda wal: wal_state(client, settings.cluster_id, wal),
            wal_states=wal_states(client, settings.cluster_id),
            readiness=readiness,
        )


async def coordinator(settings: CoordinatorSettings, stop: Stop) -> None:
    """Leases in NATS, streams in JetStream, schema in ClickHouse."""
    from services.coordinator import app
    from tael.storage.clickhouse.schema import ClickHouseSchema
    from tael.storage.clickhouse.shards import ShardClients

    configure_logging(settings, "coordinator")  # before connecting: _process(), which needs the cluster's status, comes later here
    readiness = Readiness("nats")
    async with _nats(settings, "coordinator") as client, ShardClients(settings) as shards:
        kv = NatsKeyValue(client, settings.cluster_id, replicas=settings.wal_replicas)
        status = ClusterStatus(
            kv, settings.cluster_id, settings.node_id, settings.lease_ttl_seconds, wal_states(client, settings.cluster_id)
        )
        streams = JetStreamStreams(
            client,
            settings.cluster_id,
            settings.nats_monitor_urls,
            replicas=settings.wal_replicas,
            max_bytes=settings.wal_max_bytes,
            tls=ClientTls(settings),
        )
        ports = app.Ports(
            kv,
            kv.ensure,
            streams,
            lambda shard: ClickHouseSchema(shards.client(shard.url), settings.clickhouse_engine, cluster=settings.clickhouse_cluster),
        )
        async with _process(settings, "coordinator", readiness, status) as found:
            await app.run(found, stop, ports, readiness)


async def hotnode(settings: HotNodeSettings, stop: Stop) -> None:
    """ClickHouse's HTTP interface over chdb."""
    from services.hotnode import app

    configure_logging(settings, "hotnode")
    await app.run(settings, stop)


async def serve(settings: ServeSettings, stop: Stop) -> None:
    """The whole suite on this machine."""
    from services.serve import app

    await app.run(settings, stop)


TARGETS = {
    "ingest": Target("receivers in front of the WAL, and the writer behind it", "services.ingest.settings:IngestSettings", ingest),
    "query": Target("every API out", "services.query.settings:QuerySettings", query),
    "compactor": Target(
        "retention, and the roll to the cold tier; one lease a shard", "services.compactor.settings:CompactorSettings", compactor
    ),
    "coordinator": Target(
        "schema, streams, shard map and leases; one leads", "services.coordinator.settings:CoordinatorSettings", coordinator
    ),
    "hotnode": Target("ClickHouse's HTTP interface over the embedded engine", "services.hotnode.settings:HotNodeSettings", hotnode),
    "serve": Target("all of them on this machine, with NATS and an object store", "services.serve.settings:ServeSettings", serve),
}


@contextlib.asynccontextmanager
async def _process(settings: N, target: str, readiness: Readiness, status: ClusterStatus | None = None) -> AsyncIterator[N]:
    """Configure logging, and serve the internal listener while the block runs. Yields the settings with the address at which others reach
    it.
    """
    configure_logging(settings, target)
    app = http.internal_app(settings.internal_addr, readiness)
    if status is not None:
        http.add_cluster_routes(app, status.read)
    async with http.serve(app, settings.internal_addr, what="the internal endpoints'", variable="TAEL_INTERNAL_ADDR") as bound:
        found = Address(_own_host(), bound.port) if bound.host in _EVERYWHERE else bound
        yield settings.model_copy(update={"internal_addr": found})


def _own_host() -> str:
    """The host at which others reach this machine: its IP address if its name resolves, as other pods cannot resolve a pod's name."""
    name = socket.gethostname()
    try:
        return socket.gethostbyname(name)
    except OSError:
        return name


@contextlib.asynccontextmanager
async def _nats(settings: NatsSettings, target: str) -> AsyncIterator[Client]:
    async with connection(settings, f"tael-{target}") as client:
        yield client
