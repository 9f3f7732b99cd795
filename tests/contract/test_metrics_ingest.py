"""Metrics from a client's request to rows: real receivers, log, writer and hot tier, on one shard and on two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import cramjam
import pytest
import pytest_asyncio
from nats.aio.client import Client
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from prometheus_client import CollectorRegistry

from services.ingest.telemetry import WriterMetrics
from services.ingest.writer.parts import Parts
from services.ingest.writer.prepare import DeltaPreparation
from services.ingest.writer.settings import WriterSettings
from services.ingest.writer.shard import ShardWriter
from tael.cluster.lease import Lease, writer_key
from tael.cluster.nats_kv import NatsKeyValue
from tael.errors import Overloaded, Unavailable
from tael.model.series import STALE_BITS
from tael.model.signals import METRICS
from tael.otlp.json import dump_json
from tael.otlp.signals import SIGNALS
from tael.runtime.service import Stop
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.totals import ClickHouseTotals
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.digests import JetStreamDigests
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.metrics import DELTA, T0_MS, T0_NS, Reader, bits, number, request
from tests.support.nats import NatsServer
from tests.support.otlp import MemoryLog, Receivers, call, receiving
from tests.support.storage import HotTier
from tests.unit.test_remote_write import Series, integer_histogram, version_1, version_2

METHOD = SIGNALS[METRICS].grpc_method
NOW_NS = T0_NS + 3_600 * 10**9
"""When requests arrive: not long after their samples."""
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


class Died(BaseException):
    """A writer's process ends here."""


@dataclass
class Bench:
    """Receivers in front of a real log, and writers behind it that may be killed at a place."""

    client: Client
    kv: NatsKeyValue
    tier: HotTier
    receivers: Receivers

    async def writer(self, shard: int, die_at: str = "") -> ShardWriter:
        """A writer that was just granted the shard."""
        found = await self.kv.get(writer_key(shard))
        lease = (Lease(holder="", epoch=0) if found is None else Lease.decode(found)).grant("node", granted_by=1)
        if found is None:
            await self.kv.create(writer_key(shard), lease.encode())
        else:
            await self.kv.update(writer_key(shard), lease.encode(), found.revision)
        granted = await self.kv.get(writer_key(shard))
        assert granted is not None
        return ShardWriter(self._parts(shard, die_at), granted)

    def _parts(self, shard: int, die_at: str) -> Parts:
        def fail(place: str) -> None:
            if place == die_at:
                raise Died(place)

        clickhouse = self.tier.clickhouses[shard]
        preparations = {METRICS: DeltaPreparation(ClickHouseTotals(clickhouse), 1000)}
        settings = WriterSettings.model_validate({"TAEL_BATCH_MAX_SECS": "0.05"})
        reader, metrics = JetStreamReader(self.client, "tael", shard), WriterMetrics(CollectorRegistry())
        digests = JetStreamDigests(self.client, "tael", shard)
        return Parts(shard, "node", self.kv, reader, digests, ClickHouseWriter(clickhouse), settings, metrics, fail, preparations)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """A writer for each shard while the block runs."""
        stop = Stop()
        writers = [await self.writer(shard) for shard in range(len(self.tier.clickhouses))]
        tasks = [asyncio.create_task(writer.run(stop)) for writer in writers]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def dies(self, place: str) -> None:
        """A writer of shard 0 that takes what is in the log and dies at ``place``."""
        with pytest.raises((Died, BaseExceptionGroup)):
            await asyncio.wait_for((await self.writer(0, place)).run(Stop()), 60)

    async def rows(self, columns: str, table: str, order: str = "ALL") -> list[Any]:
        """The rows of all shards, merged as a reader would merge them."""
        found = [await clickhouse.query(_select(clickhouse, columns, table, order), {}) for clickhouse in self.tier.clickhouses]
        return [tuple(cell.decode() if isinstance(cell, bytes) else cell for cell in row) for rows in found for row in rows]

    async def until(self, check: Callable[[], Awaitable[bool]]) -> None:
        """Wait for what is to be seen."""
        async with asyncio.timeout(60):
            while not await check():  # noqa: ASYNC110  # the hot tier does not tell
                await asyncio.sleep(0.05)

    async def samples(self) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """Time and value by metric name and the label ``n``."""
        found: dict[tuple[str, str], list[tuple[int, float]]] = {}
        names = "SELECT DISTINCT tenant, series, metric_name, labels['n'] AS n FROM {database}.series"
        for clickhouse in self.tier.clickhouses:
            sql = (
                f"SELECT metric_name, n, toUnixTimestamp64Milli(ts) AS at, value FROM {clickhouse.database}.samples FINAL"
                f" INNER JOIN ({names.format(database=clickhouse.database)}) AS names USING (tenant, series) ORDER BY metric_name, n, at"
            )
            for name, n, time_ms, value in await clickhouse.query(sql, {}):
                found.setdefault((name.decode(), n.decode()), []).append((time_ms, value))
        return found


def _select(clickhouse: ClickHouse, columns: str, table: str, order: str) -> str:
    return f"SELECT {columns} FROM {clickhouse.database}.{table} FINAL ORDER BY {order}"


@pytest_asyncio.fixture
async def bench(nats_server: NatsServer, nats_client: Client, hot_tier: HotTier) -> AsyncIterator[Bench]:
    """Nobody writes yet."""
    shards = len(hot_tier.clickhouses)
    await JetStreamStreams(nats_client, "tael", [nats_server.monitor_url], replicas=1, max_bytes=64 << 20).ensure(shards)
    kv = NatsKeyValue(nats_client, "tael")
    await kv.ensure()
    async with AsyncExitStack() as stack:
        receivers = await stack.enter_async_context(receiving(JetStreamAppender(nats_client, "tael"), shards=shards, now_ns=lambda: NOW_NS))
        yield Bench(nats_client, kv, hot_tier, receivers)


async def post(receivers: Receivers, path: str, body: bytes, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of one POST."""
    async with aiohttp.ClientSession() as session, session.post(f"http://{receivers.http}{path}", data=body, headers=headers) as answer:
        return answer.status, (await answer.read()).decode(errors="replace"), dict(answer.headers)


async def write(receivers: Receivers, body: bytes, content_type: str = V2, **headers: str) -> tuple[int, str, dict[str, str]]:
    """One remote write."""
    packed = bytes(cramjam.snappy.compress_raw(body))
    return await post(receivers, "/api/v1/write", packed, **{"Content-Type": content_type, "Content-Encoding": "snappy", **headers})


def everything() -> ExportMetricsServiceRequest:
    """Many gauges, a classic histogram with an exemplar, an exponential one."""
    latency = Metric(name="latency", unit="s")
    latency.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    point = latency.histogram.data_points.add(time_unix_nano=T0_NS, count=3, sum=2.5, bucket_counts=[1, 2], explicit_bounds=[1.0])
    point.exemplars.add(as_double=0.5, trace_id=b"\x0a" * 16, time_unix_nano=T0_NS)
    size = Metric(name="size")
    size.exponential_histogram.aggregation_temporality = 2  # type: ignore[assignment]
    size.exponential_histogram.data_points.add(time_unix_nano=T0_NS, count=2, scale=1).positive.bucket_counts.append(2)
    gauges = [number("many", float(n), attributes={"n": n}) for n in range(40)]
    return request(*gauges, number("gone", 0, flags=1), latency, size)


async def test_otlp_becomes_rows_of_every_table_once(bench: Bench) -> None:
    """By gRPC, by HTTP and as JSON, the same request three times: a resend changes nothing."""
    message = everything()
    async with bench.writing():
        for _ in range(2):
            answer = await call(bench.receivers.grpc, message.SerializeToString(), method=METHOD)
            assert answer.response is not None
            assert not answer.response.HasField("partial_success")
        for kind, body in (
            ("application/x-protobuf", message.SerializeToString()),
            ("application/json", dump_json(message)),
        ):
            status, text, _ = await post(bench.receivers, "/v1/metrics", body, **{"Content-Type": kind})
            assert (status, text) in ((200, ""), (200, "{}"))
        await bench.until(lambda: _has(bench, "histograms", 1))
        await bench.until(lambda: _has(bench, "samples", 45))
    samples = await bench.samples()
    assert {n: values for (name, n), values in samples.items() if name == "many"} == {str(n): [(T0_MS, float(n))] for n in range(40)}
    [[(at, gone)]] = [values for (name, _), values in samples.items() if name == "gone"]
    assert (at, bits(gone)) == (T0_MS, STALE_BITS)
    assert await bench.rows("schema, count, positive_index, positive_counts", "histograms") == [(1, 2.0, [1], [2.0])]
    [(trace, value)] = await bench.rows("hex(trace_id), value", "exemplars")
    assert (trace, value) == ("0A" * 16, 0.5)
    assert len(await bench.rows("series", "series")) == 40 + 1 + 4 + 1
    families = {(name, kind) for name, kind in await bench.rows("name, type", "metric_families")}
    assert families == {("many", "gauge"), ("gone", "gauge"), ("latency_seconds", "histogram"), ("size", "histogram")}
    if len(bench.tier.clickhouses) == 2:
        assert all([await clickhouse.query(_select(clickhouse, "*", "samples", "ALL"), {}) for clickhouse in bench.tier.clickhouses])


async def _has(bench: Bench, table: str, rows: int) -> bool:
    return len(await bench.rows("series", table)) == rows


async def test_remote_write_becomes_rows_of_every_table(bench: Bench) -> None:
    """Both versions; bad series are a 400 that says so, with the rest written and counted."""
    bad = Series((("job", "nameless"),), [(T0_MS, 1.0)])
    for encode, kind in ((version_1, "application/x-protobuf"), (version_2, V2)):
        for _ in range(2):
            series = [Series((("__name__", "rw"), ("n", str(n))), [(T0_MS, n + 0.5)]) for n in range(20)]
            shaped = Series((("__name__", "shape"),), (), [integer_histogram()], [((("trace_id", "0b" * 16),), 2.0)], (3, "Shape", ""))
            status, text, headers = await write(bench.receivers, encode([*series, shaped]), kind)
            assert (status, text) == (204, "")
            counts = [headers[f"X-Prometheus-Remote-Write-{what}-Written"] for what in ("Samples", "Histograms", "Exemplars")]
            assert counts == ["20", "1", "1"]
        status, text, headers = await write(bench.receivers, encode([bad, series[0]]), kind)
        assert (status, headers["X-Prometheus-Remote-Write-Samples-Written"]) == (400, "1")
        assert "missing label __name__" in text
    async with bench.writing():
        await bench.until(lambda: _has(bench, "samples", 20))
        await bench.until(lambda: _has(bench, "exemplars", 1))
    assert await bench.samples() == {("rw", str(n)): [(T0_MS, n + 0.5)] for n in range(20)}
    assert await bench.rows("positive_index, positive_counts, count", "histograms") == [([-1, 0, 3], [1.0, 3.0, 2.0], 10.0)]
    assert await bench.rows("DISTINCT name, type, help", "metric_families") == [("shape", "histogram", "Shape")]


@pytest.mark.parametrize("place", ["before_insert", "between_tables", "after_insert"])
@pytest.mark.parametrize("hot_tier", ["one-shard"], indirect=True)
async def test_increments_add_up_once_wherever_a_writer_dies(bench: Bench, place: str) -> None:
    """Sums, histograms and exponential histograms; the successor repeats the intent and goes on from what the hot tier has."""

    async def send(second: int, amount: int) -> None:
        at_ns = T0_NS + second * 1_000_000_000
        size = Metric(name="size")
        size.exponential_histogram.aggregation_temporality = DELTA  # type: ignore[assignment]
        size.exponential_histogram.data_points.add(time_unix_nano=at_ns, count=amount, scale=1).positive.bucket_counts.append(amount)
        steady = number("steady", amount, at_ns=at_ns)
        hits = number("hits", amount, kind="sum", temporality=DELTA, at_ns=at_ns)
        answer = await call(bench.receivers.grpc, request(hits, size, steady).SerializeToString(), method=METHOD)
        assert answer.response is not None

    await send(0, 1)
    await send(1, 2)
    await bench.dies(place)
    await send(2, 4)
    await bench.dies(place)
    await send(3, 8)
    async with bench.writing():
        await bench.until(lambda: _has(bench, "histograms", 4))
        await bench.until(lambda: _has(bench, "samples", 8))
    samples = await bench.samples()
    times = [T0_MS + second * 1000 for second in range(4)]
    assert samples[("hits_total", "")] == list(zip(times, [1.0, 3.0, 7.0, 15.0], strict=True))
    assert samples[("steady", "")] == list(zip(times, [1.0, 2.0, 4.0, 8.0], strict=True))
    assert await bench.rows("count, positive_counts", "histograms", "ts") == [(n, [n]) for n in (1.0, 3.0, 7.0, 15.0)]


@pytest.mark.parametrize("place", ["before_insert", "between_tables", "after_insert"])
@pytest.mark.parametrize("hot_tier", ["one-shard"], indirect=True)
async def test_late_and_equal_times_count_wherever_a_writer_dies(bench: Bench, place: str) -> None:
    """Across hours, and with one that claims to be of next year; the last sample has them all."""
    total = 0
    for seconds in ((0, 0, 7200), (7200, 3600, 40_000_000), (1, 10_800)):
        for second in seconds:
            at_ns, amount = T0_NS + second * 1_000_000_000, total + 1
            size = Metric(name="size")
            size.exponential_histogram.aggregation_temporality = DELTA  # type: ignore[assignment]
            size.exponential_histogram.data_points.add(time_unix_nano=at_ns, count=amount, scale=1)
            hits = number("hits", amount, kind="sum", temporality=DELTA, at_ns=at_ns)
            answer = await call(bench.receivers.grpc, request(hits, size).SerializeToString(), method=METHOD)
            assert answer.response is not None
            total += amount
        await bench.dies(place)

    async def complete() -> bool:
        samples = (await bench.samples()).get(("hits_total", ""), [(0, 0.0)])
        return samples[-1][1] == float(total)

    async with bench.writing():
        await bench.until(complete)
    *_, (count, ahead) = await bench.rows("count, ts > now() + 60", "histograms", "ts")
    assert (count, ahead) == (float(total), 0)


@pytest_asyncio.fixture
async def receivers() -> AsyncIterator[Receivers]:
    """Over a log in memory."""
    async with receiving(TAEL_MAX_REQUEST_BYTES="64KiB") as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Content-Type": "application/json"}, 415, "application/x-protobuf"),
        ({"Content-Type": "application/x-protobuf;proto=other.Request"}, 415, "io.prometheus.write.v2.Request"),
        ({"Content-Encoding": "gzip"}, 415, "snappy"),
        ({"Content-Type": "application/x-protobuf;proto=prometheus.WriteRequest"}, 204, ""),
        ({"Content-Type": 'application/x-protobuf; proto="io.prometheus.write.v2.Request"'}, 204, ""),
        ({"Content-Encoding": ""}, 204, ""),
    ],
)
async def test_remote_write_negotiates_by_headers(receivers: Receivers, headers: dict[str, str], status: int, said: str) -> None:
    """What is not known is 415 and says what is."""
    found, text, _ = await write(receivers, b"", **headers)
    assert found == status
    assert said in text


async def test_remote_write_refuses_what_is_broken_or_too_large(receivers: Receivers) -> None:
    """A block that claims to be huge is refused by its header, before it is unpacked."""
    for body, status in ((b"\xff\xff\xff\xff\xff\xff", 400), (b"\x05\x00", 400), (bytes(cramjam.snappy.compress_raw(bytes(1 << 20))), 413)):
        found, _, _ = await post(receivers, "/api/v1/write", body, **{"Content-Type": V2})
        assert found == status
    found, text, _ = await write(receivers, b"\xff\xff")
    assert (found, "not a valid" in text) == (400, True)


async def test_remote_write_is_asked_to_retry() -> None:
    """When the log is full or away, and nothing is remembered of series that are not in it."""
    log = MemoryLog()
    async with receiving(log) as running:
        for error, status in ((Unavailable("away", retry_after_seconds=3), 503), (Overloaded("full"), 429)):
            log.error = error
            found, _, headers = await write(running, version_2([Series()]))
            assert (found, int(headers["Retry-After"]) >= 1) == (status, True)
        log.error = None
        assert (await write(running, version_2([Series()])))[0] == 204
    [(_, signal, body, items)] = log.appended
    assert (signal, items, b"__name__" in body) == (METRICS, 1, True)


async def test_refused_points_are_partial_success() -> None:
    """Counted in points, with the reason, over gRPC."""
    async with receiving() as running:
        message = request(number("a", 1), number("b", 1, 2, kind="sum", temporality=0))
        answer = await call(running.grpc, message.SerializeToString(), method=METHOD)
    assert answer.response is not None
    response = ExportMetricsServiceResponse.FromString(answer.response.SerializeToString())
    assert response.partial_success.rejected_data_points == 2
    assert "neither delta (1) nor cumulative (2)" in response.partial_success.error_message


async def test_text_that_is_not_utf8_is_repaired_and_reported() -> None:
    """Nothing is refused for it, in a new series and in one that is known."""
    async with receiving() as running:
        body = request(number("x", 1, attributes={"a": "B!D"})).SerializeToString()
        await call(running.grpc, body, method=METHOD)
        answer = await call(running.grpc, body.replace(b"B!D", b"B\xffD"), method=METHOD)
        assert answer.response is not None
        response = ExportMetricsServiceResponse.FromString(answer.response.SerializeToString())
    assert response.partial_success.rejected_data_points == 0
    assert "UTF-8" in response.partial_success.error_message
    values = {dict(labels).get("a") for labels in Reader().read(running.log.requests).samples}
    assert values == {"B!D", "B\ufffdD"}


async def test_a_large_request_of_new_series_leaves_the_loop_to_others() -> None:
    """Its series are announced one by one, which takes a while; leases are renewed and others are answered meanwhile."""
    series = [Series((("__name__", "m"), ("n", "x" * 90 + str(n)))) for n in range(20_000)]
    body = version_2(series)
    async with receiving() as running:
        # Of this thread's processor time: what a busy machine gives to others meanwhile is not the loop's fault.
        began, last = time.monotonic(), time.thread_time()
        writing, longest = asyncio.create_task(write(running, body)), 0.0
        while not writing.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()
        took = time.monotonic() - began
        assert (await writing)[0] == 204
    assert len(body) > 2 << 20
    assert longest < took / 2
