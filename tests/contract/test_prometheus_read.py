"""Prometheus' remote read: a real Prometheus that has no samples of its own, and requests that are none."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cramjam
import pytest

from services.query.api.prometheus.remote_read import decode
from tael.errors import Rejected
from tael.model.series import STALE, labels_of
from tael.model.tenant import DEFAULT_TENANT
from tael.pb.remote_read_pb2 import LabelMatcher, Query, ReadRequest, ReadResponse
from tael.pb.remote_write_pb2 import SeriesV1
from tael.vectors.histograms import text as histogram_text
from tests.support.doubles import MemorySpans
from tests.support.ports import free_port
from tests.support.prometheus import ask
from tests.support.query import Api, serving
from tests.support.series import MemorySeries
from tests.support.suite import until

T0 = 1_790_002_800
PROMETHEUS = shutil.which("prometheus")


def store() -> MemorySeries:
    series = MemorySeries()
    series.add(labels_of({"__name__": "up", "job": "a"}), [((T0 + 15 * i) * 1000, float(i)) for i in range(5)], tenant=DEFAULT_TENANT)
    series.add(labels_of({"__name__": "up", "job": "b"}), [(T0 * 1000, 7.0), ((T0 + 15) * 1000, STALE)], tenant=DEFAULT_TENANT)
    histogram = histogram_text.parse("{{schema:1 sum:5 count:7 z_bucket:1 z_bucket_w:0.001 buckets:[1 0 2] n_offset:3 n_buckets:[3]}}")
    series.add(labels_of({"__name__": "latency"}), [(T0 * 1000, histogram)], tenant=DEFAULT_TENANT)
    return series


async def read(api: Api, *matchers: LabelMatcher, start: int = T0, end: int = T0 + 60) -> list[SeriesV1]:
    """What one query is answered."""
    query = Query(start_timestamp_ms=start * 1000, end_timestamp_ms=end * 1000, matchers=matchers)
    body = bytes(cramjam.snappy.compress_raw(ReadRequest(queries=[query]).SerializeToString()))
    async with api.session.post(api.url + "/prometheus/api/v1/read", data=body) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Encoding"] == "snappy"
        unpacked = bytes(cramjam.snappy.decompress_raw(await response.read()))
    [result] = ReadResponse.FromString(unpacked).results
    return [SeriesV1.FromString(series) for series in result.timeseries]


async def test_samples_come_by_series_and_time() -> None:
    async with serving(MemorySpans(), series=store()) as api:
        first, second = await read(api, LabelMatcher(type=LabelMatcher.RE, name="__name__", value="u."))
        assert [(label.name, label.value) for label in first.labels] == [("__name__", "up"), ("job", "a")]
        assert [(sample.timestamp, sample.value) for sample in first.samples] == [((T0 + 15 * i) * 1000, float(i)) for i in range(5)]
        assert len(second.samples) == 2
        [narrow] = await read(api, LabelMatcher(name="job", value="a"), start=T0 + 15, end=T0 + 30)
        assert [sample.value for sample in narrow.samples] == [1.0, 2.0]


async def test_native_histograms_are_written_as_spans() -> None:
    async with serving(MemorySpans(), series=store()) as api:
        [series] = await read(api, LabelMatcher(name="__name__", value="latency"))
    [histogram] = series.histograms
    assert (histogram.schema, histogram.sum, histogram.count_float, histogram.zero_count_float) == (1, 5.0, 7.0, 1.0)
    assert [(span.offset, span.length) for span in histogram.positive_spans] == [(0, 1), (1, 1)]
    assert [(span.offset, span.length) for span in histogram.negative_spans] == [(3, 1)]
    assert list(histogram.positive_counts) == [1.0, 2.0]


async def test_a_request_over_the_bound_is_refused() -> None:
    async with serving(MemorySpans(), series=store(), TAEL_PROMQL_MAX_SAMPLES="1000") as api:
        for body in (b"", b"\xff\xff", bytes(cramjam.snappy.compress_raw(b"\xff\xff"))):
            async with api.session.post(api.url + "/api/v1/read", data=body) as response:
                assert response.status == 400, body
                assert (await response.json())["errorType"] == "bad_data"
    with pytest.raises(Rejected, match="too large"):
        decode(bytes(cramjam.snappy.compress_raw(bytes(2 << 20))))


async def test_histograms_of_all_queries_count_by_their_size() -> None:
    """One query's are within the bound, two queries' are not."""
    series = MemorySeries()
    histogram = histogram_text.parse("{{count:3 buckets:[1 1 1]}}")
    series.add(labels_of({"__name__": "latency"}), [((T0 + i) * 1000, histogram) for i in range(100)], tenant=DEFAULT_TENANT)
    query = Query(end_timestamp_ms=2 * T0 * 1000, matchers=[LabelMatcher(name="__name__", value="latency")])
    async with serving(MemorySpans(), series=series, TAEL_PROMQL_MAX_SAMPLES="1000") as api:
        for queries, status in ((1, 200), (2, 400)):
            body = bytes(cramjam.snappy.compress_raw(ReadRequest(queries=[query] * queries).SerializeToString()))
            async with api.session.post(api.url + "/api/v1/read", data=body) as response:
                assert response.status == status, await response.text()


@asynccontextmanager
async def prometheus(directory: Path, remote: str) -> AsyncIterator[str]:
    """Prometheus over an empty directory that reads from ``remote``; yields its URL."""
    assert PROMETHEUS is not None
    config, url = directory / "prometheus.yml", f"http://127.0.0.1:{free_port()}"
    config.write_text(f"remote_read: [{{url: {remote}/prometheus/api/v1/read, read_recent: true}}]\n")
    command = [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address={url[7:]}"]
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        await asyncio.to_thread(until, lambda: _answers(url), "Prometheus", 20)
        yield url
    finally:
        process.terminate()
        await process.wait()


def _answers(url: str) -> bool:
    try:
        return bool(ask(url, "query", query="1")[0]["status"] == "success")
    except (OSError, ValueError):
        return False


@pytest.mark.skipif(PROMETHEUS is None and os.environ.get("TAEL_REQUIRE_PEERS") != "1", reason="prometheus is not installed")
async def test_a_real_prometheus_reads_from_it(tmp_path: Path) -> None:
    async with serving(MemorySpans(), series=store()) as api, prometheus(tmp_path, api.url) as url:
        # Between samples: where a window begins with one, Prometheus 2 still counted it.
        for query in ("up", "sum_over_time(up[1m])", "rate(up[1m])", 'up{job!~"b.*"} offset 15s'):
            theirs = (await asyncio.to_thread(ask, url, "query", query=query, time=T0 + 61))[0]
            ours: dict[str, Any] = await api.json("/api/v1/query", query=query, time=T0 + 61)
            assert _by_labels(theirs) == _by_labels(ours)
            assert theirs["data"]["result"], query


def _by_labels(body: dict[str, Any]) -> list[Any]:
    return sorted(body["data"]["result"], key=lambda series: sorted(series["metric"].items()))
