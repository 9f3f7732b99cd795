"""All log records that OTLP can carry are read from the hot tier as they were sent, by way of a receiver's admission."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireLogRecord
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from prometheus_client import CollectorRegistry

from services.ingest.pipeline import Pipeline
from tael.cluster.shard import Router
from tael.logql.records import Entry, entry
from tael.model.log import LEVEL_WORDS, LogRecord
from tael.model.signals import LOGS
from tael.model.time import ALL_TIME
from tael.otlp.anyvalue import encode_attributes, encode_value
from tael.otlp.decode import decode_logs
from tael.otlp.signals import SIGNALS
from tael.storage.api import LogQuery
from tests.property.test_span_round_trip import attributes, resources, scopes, text, uint32, uint64, values
from tests.support.hotnode import HotNode
from tests.support.otlp import MemoryLog, receiver_settings
from tests.support.storage import HotTier, open_tier

NOW_NS = 1_790_000_000_000_000_005
levelled = st.builds(" ".join, st.lists(st.sampled_from([*LEVEL_WORDS, "ERROR:", "[Warn]", "infos", "x" * 50, "é"]), max_size=4))
records = st.builds(
    WireLogRecord,
    time_unix_nano=st.just(0) | uint64,
    observed_time_unix_nano=st.just(0) | uint64,
    severity_number=st.integers(0, 24),
    severity_text=text | st.sampled_from(["INFO", "Warning", "err"]),
    body=st.none() | (values | levelled).map(encode_value),
    attributes=attributes | levelled.map(lambda word: encode_attributes({"lvl": word})),
    dropped_attributes_count=uint32,
    flags=uint32,
    trace_id=st.binary(max_size=17) | st.binary(min_size=16, max_size=16),
    span_id=st.binary(max_size=9) | st.binary(min_size=8, max_size=8),
    event_name=text,
)
scope_logs = st.builds(ScopeLogs, scope=scopes, log_records=st.lists(records, max_size=3), schema_url=text)
resource_logs = st.builds(ResourceLogs, resource=resources, scope_logs=st.lists(scope_logs, max_size=2), schema_url=text)
requests = st.builds(ExportLogsServiceRequest, resource_logs=st.lists(resource_logs, max_size=2))


async def written_and_read(tier: HotTier, tenant: str, request: ExportLogsServiceRequest) -> tuple[list[LogRecord], list[LogRecord]]:
    """The records of the request as sent and as read. Read as lines, they are those of the records."""
    log = MemoryLog()
    pipeline = Pipeline(log, Router(1), receiver_settings(), now_ns=lambda: NOW_NS, registry=CollectorRegistry())
    async with pipeline.reserve(tenant) as reservation:
        await pipeline.admit(SIGNALS[LOGS], tenant, request.SerializeToString(), reservation)
    for _, _, body, _ in log.appended:
        await tier.writers[0].write(LOGS, body, os.urandom(8).hex())
    read = (await tier.logs.find_logs(tenant, LogQuery(ALL_TIME))).value
    expected = list(map(entry, read))
    assert (await tier.logs.read_lines(tenant, LogQuery(ALL_TIME))).value == expected
    some = {name for number, line in enumerate(expected) for name in list(line.metadata)[number % 3 :: 3]}
    lines = (await tier.logs.read_lines(tenant, LogQuery(ALL_TIME), some)).value
    assert list(map(cut := partial(_of_names, some), lines)) == list(map(cut, expected))
    return list(decode_logs(request.resource_logs, NOW_NS)), read


def _of_names(names: set[str], line: Entry) -> Entry:
    """The line without other metadata."""
    return line._replace(metadata={name: value for name, value in line.metadata.items() if name in names})


def test_every_field_of_every_record_survives(shared_hot_node: HotNode) -> None:
    """Through admission, one insert, flattening in ClickHouse and reading; levels are those that the model detects."""
    with asyncio.Runner() as runner:
        opened = open_tier([shared_hot_node])
        tier = runner.run(opened.__aenter__())

        @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
        @given(requests)
        def check(request: ExportLogsServiceRequest) -> None:
            expected, read = runner.run(written_and_read(tier, os.urandom(6).hex(), request))
            assert sorted(map(repr_of, read)) == sorted(map(repr_of, expected))

        try:
            check()
        finally:
            runner.run(opened.__aexit__(None, None, None))


def repr_of(record: LogRecord) -> str:
    """Every field but the serial, with types distinguished and attributes in order of their keys."""
    fields = {name: getattr(record, name) for name in LogRecord.__dataclass_fields__ if name != "serial"}
    return repr(
        {**fields, "attributes": sorted(record.attributes.items()), "resource": _sorted(record.resource), "scope": _sorted(record.scope)}
    )


def _sorted(owner: Any) -> tuple[Any, ...]:
    rest = [getattr(owner, name) for name in owner.__dataclass_fields__ if name != "attributes"]
    return (sorted(owner.attributes.items()), *rest)
