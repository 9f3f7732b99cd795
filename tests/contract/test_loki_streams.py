"""Streams by Loki's API: their labels, values, statistics and volumes, those that came by its push among them."""

from __future__ import annotations

import asyncio
import json

from tael.loki.push import read_json
from tael.model.series import Selection
from tael.model.streams import LogStream
from tael.otlp.decode import decode_logs
from tael.storage.api import Answer, LogReader, Shard
from tael.storage.gather import Shards
from tael.storage.merged import MergedLogs
from tests.contract.test_loki_api import GROUPS, LOKI, RANGE, SECOND, data, loki
from tests.support.doubles import MemorySpans
from tests.support.logs import MemoryLogs
from tests.support.query import Api, serving
from tests.support.storage import RECEIVED_NS, START_NS

__all__ = ["loki"]


async def test_labels_values_and_series(loki: Api) -> None:
    assert await data(loki, "labels") == ["service_name", "service_namespace"]
    assert await data(loki, "labels", query='{service_name="job"}') == ["service_name"]
    assert await data(loki, "label/service_name/values") == ["job", "shop"]
    assert await data(loki, "label/service_name/values", query='{service_namespace="eu"}') == ["shop"]
    assert await loki.json(f"{LOKI}/label/nope/values", **RANGE) == {"status": "success"}
    shop, job = {"service_name": "shop", "service_namespace": "eu"}, {"service_name": "job"}
    assert await data(loki, "series") == [job, shop]
    assert await data(loki, "series", **{"match[]": "{}"}) == [job, shop]
    assert await data(loki, "series", **{"match[]": '{service_namespace=~"e."}'}) == [shop]
    assert await loki.json(f"{LOKI}/detected_labels", **RANGE) == {
        "detectedLabels": [{"label": "service_name", "cardinality": 2}, {"label": "service_namespace", "cardinality": 1}]
    }
    assert await loki.json(f"{LOKI}/detected_labels", query='{service_name="nope"}', **RANGE) == {}


async def test_streams_that_were_pushed_are_listed_with_all_their_labels() -> None:
    """By each endpoint for streams, beside those that came by OTLP."""
    values = [[str(START_NS + SECOND), "ready"], [str(START_NS + 2 * SECOND), "gone"]]
    body = json.dumps({"streams": [{"stream": {"app": "web", "env": "eu", "pod": "7"}, "values": values}]})
    pushed = read_json(body.encode(), 10_000).request.resource_logs
    labels = {"app": "web", "env": "eu", "pod": "7", "service_name": "web"}
    records = list(decode_logs([*GROUPS, *pushed], RECEIVED_NS))
    async with serving(MemorySpans(), logs=MemoryLogs(records)) as loki:
        assert await data(loki, "labels") == ["app", "env", "pod", "service_name", "service_namespace"]
        assert await data(loki, "labels", query='{app="web"}') == sorted(labels)
        assert await data(loki, "label/env/values") == ["eu"]
        assert await data(loki, "label/service_name/values", query='{env=~".+"}') == ["web"]
        assert await data(loki, "series", **{"match[]": '{app="web"}'}) == [labels]
        assert labels in await data(loki, "series")
        detected = await loki.json(f"{LOKI}/detected_labels", query='{app=~".+"}', **RANGE)
        # A pod is listed although its value looks like an id.
        assert detected == {"detectedLabels": [{"label": name, "cardinality": 1} for name in sorted(labels)]}
        stats = await loki.json(f"{LOKI}/index/stats", query='{app="web"}', **RANGE)
        assert stats == {"streams": 1, "chunks": 1, "bytes": 9, "entries": 2}
        for query, labeled in [("{}", {"app": "web"}), ('{app="web"}', {"app": "web"}), ('{service_name="web"}', {"app": "web"})]:
            for path in ("index/volume", "index/volume_range"):
                volume = await data(loki, path, query=query, targetLabels="app")
                assert [one["metric"] for one in volume["result"]] == [labeled], (path, query)
        by_label = await data(loki, "index/volume", query='{app="web"}', aggregateBy="labels")
        assert [one["metric"] for one in by_label["result"]] == [{name: ""} for name in sorted(labels)]
        # What a matcher says of a label, streams need not have.
        without = await data(loki, "index/volume", query='{service_name="web", zone!="a"}', targetLabels="zone,app")
        assert [one["metric"] for one in without["result"]] == [{"app": "web"}]
        both = await data(loki, "index/volume_range", query="{}", targetLabels="env,app")
        assert [one["metric"] for one in both["result"]] == [{"app": "web", "env": "eu"}]


async def test_statistics_and_volumes(loki: Api) -> None:
    sizes = {
        "shop": sum(len(record.body.string_value) for record in GROUPS[0].scope_logs[0].log_records),
        "job": 17 + len('{"k":"v","n":1}'),
    }
    stats = await loki.json(f"{LOKI}/index/stats", query='{service_name="shop"}', **RANGE)
    assert stats == {"streams": 1, "chunks": 1, "bytes": sizes["shop"], "entries": 3}
    end = (START_NS + 100 * SECOND) // 1_000_000 / 1000
    # As a chunk of Loki's keeps metadata: each text once, and eight bytes a pair.
    words = [
        "host_name",
        "a",
        "http_status",
        "200",
        "severity_number",
        "9",
        "17",
        "severity_text",
        "INFO",
        "ERROR",
        "trace_id",
        "detected_level",
        "info",
        "error",
    ]
    metadata = {"shop": sum(map(len, words)) + 32 + 13 * 8, "job": len("detected_level" + "warn" + "unknown") + 2 * 8}
    volume = await data(loki, "index/volume", query='{service_name=~".+"}')
    assert volume.pop("stats")["summary"]["totalEntriesReturned"] == 2
    assert volume == {
        "resultType": "vector",
        "result": [{"metric": {"service_name": name}, "value": [end, str(sizes[name] + metadata[name])]} for name in ("shop", "job")],
    }
    targeted = await data(loki, "index/volume", query='{service_name=~".+"}', targetLabels="service_namespace")
    assert [one["metric"] for one in targeted["result"]] == [{"service_namespace": "eu"}]
    both = await data(loki, "index/volume", query="{}", targetLabels="service_name,service_namespace", limit="0")
    assert [one["metric"] for one in both["result"]] == [{"service_name": "shop", "service_namespace": "eu"}]
    assert (await data(loki, "index/volume", query="{}", targetLabels="service_name,nope"))["result"] == []
    by_label = await data(loki, "index/volume", query='{service_name=~".+"}', aggregateBy="labels")
    assert [one["metric"] for one in by_label["result"]] == [{"service_name": ""}, {"service_namespace": ""}]
    ranged = await data(loki, "index/volume_range", query='{service_name="shop"}', step="50s")
    assert ranged["resultType"] == "matrix"
    assert [value for _, value in ranged["result"][0]["values"]] == [str(sizes["shop"])]
    first, *others = [len(record.body.string_value) for record in GROUPS[0].scope_logs[0].log_records]
    # Steps are counted from 1970, so the first is cut where the range begins within it.
    cut = await data(loki, "index/volume_range", query='{service_name="shop"}', step="2s", start=START_NS + SECOND)
    start = START_NS // SECOND
    assert cut["result"][0]["values"] == [[start + 1.999, str(first)], [start + 3.999, str(sum(others))]]


async def test_a_shard_that_does_not_answer_is_waited_for_once_though_a_query_has_many_selectors() -> None:
    """Each takes a turn of its own, but all of them the time of one query."""
    asked = list[str]()

    class Silent(MemoryLogs):
        async def list_streams(self, tenant: str, selection: Selection, limit: int) -> Answer[list[LogStream]]:
            asked.append(tenant)
            await asyncio.Event().wait()
            return await super().list_streams(tenant, selection, limit)

    records = list(decode_logs(GROUPS, RECEIVED_NS))
    shards: list[Shard[LogReader]] = [Shard("shard-0", MemoryLogs(records)), Shard("shard-1", Silent())]
    async with serving(MemorySpans(), logs=MergedLogs(Shards(shards, deadline_seconds=0.5))) as loki:
        selectors = [("match[]", f'{{service_name="{name}"}}') for name in ("shop", "job", "none")]
        body = await loki.json(f"{LOKI}/series", *selectors, **RANGE)
    assert [stream["service_name"] for stream in body["data"]] == ["shop", "job"]
    assert body["warnings"] == ["shard-1 did not answer: its lines are missing from this result"]
    assert len(asked) == 1
