"""What the hot tier knows of lines without reading them, and what it counts by the minute: the same as reading each record finds."""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireLog
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from tael.logql.ast import LogQuery as LineQuery
from tael.logql.levels import LEVEL, normalized
from tael.logql.needs import wanted
from tael.logql.parse import parse
from tael.logql.pipeline import Pipeline
from tael.logql.records import entry
from tael.model.attributes import AttributeValue
from tael.model.log import LineFact
from tael.model.predicate import EVERYTHING, Compare, Exists, Not, Or, intrinsic
from tael.model.series import Matcher
from tael.model.signals import LOGS
from tael.model.streams import INDEX_LABELS
from tael.model.tenant import DEFAULT_TENANT
from tael.model.time import ALL_TIME, HOUR_NS, TimeRange
from tael.otlp.decode import decode_logs
from tael.storage.api import LogCount, LogCounts, LogQuery
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.storage.clickhouse.log_lines import KNOWN_IF, LEVEL_SHOWN
from tael.storage.clickhouse.log_minutes import whole
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.erase import Erasure
from tael.wal import codec
from tests.support.cold_shard import cold
from tests.support.deleting import BEFORE_NS, LATER_NS, OLD, Place, finish, hot_place, place
from tests.support.hotnode import HotNode
from tests.support.logs import MemoryLogs
from tests.support.storage import RECEIVED_NS, START_NS, HotTier, logs_of, new_trace_id, open_tier, wire_log

__all__ = ["cold", "hot_place", "place"]
MINUTE = 60 * 10**9
BODIES: list[AttributeValue] = [
    "said", "an ERROR here", "warning: x", "terrors", "[Info] started", "(fatal)", "critical=1", "level=debug msg=x", '{"level": "warn"}', '{"a": {"lvl": "trc"}}',
    "a=b error", '{"n": 1} err', "{not json} info", "", " ", "info", "x\ntrace\ny", "Größe err|", "severity", "level up: warn", '{"\\u006cevel": "error"}',
    5, True, 1.5, None, b"error", {"level": "warn"}, ["error"],
]  # fmt: skip
ATTRIBUTES: list[dict[str, Any]] = [
    {}, {"level": "Warning"}, {"Level": "odd"}, {"lvl": 30}, {"level": "info", "severity": "error"}, {"severity_text": "fatal"}, {"severity.text": "fatal"},
    {"detected_level": "x"}, {"detected-level": "info"}, {"severity": {"text": "warn"}}, {"level": {"a": 1}}, {"!": {"level": "info"}}, {"levels": "info"},
    {"SeverityText": "err"}, {"level": ""}, {"k8s.pod.name": "p"}, {"k8s_pod_name": 5}, {"k8s": {"pod": {"name": "p"}}}, {"k8s-pod": {"name": "p"}},
    {"container/name": "c"}, {"service_name": "other"}, {"n": {"m": 1}}, {"service.namespace": True}, {"a": 1.5, "b": [1]},
    {"level": 30, "severity": "INFO"}, {"level": "warn", "severity": True}, {"level": {"a": 1}, "Level": "info"}, {"lvl": [1], "severity": "error"},
    {"detected__level": "fatal"}, {"detected..level": "fatal"}, {"detected'level": "x"}, {"detected*level": "x"}, {"detected\\level": "x"}, {"detected\x01level": "x"},
    {"detectedélevel": "x"}, {"k8s__pod__name": "p"}, {"k8s..pod.name": "p"}, {"!!": {"level": "info"}}, {"é": {"level": "info"}}, {"k8s.": {"pod.name": "p"}},
    {"a__b": "info"}, {"größe": "level"}, {"__level__": "info"},
]  # fmt: skip
SEVERITIES: list[dict[str, Any]] = [
    {}, {"severity_number": 9, "severity_text": "INFO"}, {"severity_number": 17}, {"severity_number": 24}, {"severity_number": 25}, {"severity_number": -1},
    {"severity_text": "Wrn"}, {"severity_text": "odd"}, {"severity_number": 1, "severity_text": "CRITICAL"},
]  # fmt: skip
RESOURCES: list[dict[str, Any]] = [
    {"k8s.pod.name": "p-1", "host.name": "a"}, {"k8s.pod.name": 5}, {"level": "info"}, {"k8s": {"pod": {"name": "x"}}}, {"service_namespace": "eu"}, {},
    {"container.name": ""}, {"severity_text": "error"}, {"detected.level": "fatal"}, {"severity.text": "fatal"}, {"detected-level": "fatal"}, {"k8s-pod-name": "p"},
    {"k8s.pod.name": "p", "k8s.pod_name": "q"}, {"service.namespace": "eu", "detected\n__level": "x", "k8s.node.name": "n"}, {"!!": {"level": "info"}}, {"k8s.": {"pod": {"name": "p"}}},
]  # fmt: skip


def groups() -> list[ResourceLogs]:
    """Every resource, with combinations of the others such that all pairs occur."""
    dealt: list[list[WireLog]] = [[] for _ in RESOURCES]
    for number, (attributes, severity, body) in enumerate(itertools.product(ATTRIBUTES, SEVERITIES, BODIES)):
        if number % 5 == 0 or not attributes or not severity:
            record = wire_log(number, body, attributes=attributes, **severity)
            dealt[number % len(RESOURCES) if number % 3 == 0 else 0].append(record)
    return [logs_of("shop", *records, **resource) for records, resource in zip(dealt, RESOURCES, strict=True)]


async def test_counted_levels_equal_those_of_the_rows(shared_hot_node: HotNode) -> None:
    """And it is known of most."""
    async with open_tier([shared_hot_node]) as tier:
        ([clickhouse], [writer]), written = (tier.clickhouses, tier.writers), groups()
        request = ExportLogsServiceRequest(resource_logs=written)
        await writer.write(LOGS, codec.encode("t1", RECEIVED_NS, request.SerializeToString()), secrets.token_hex(8))
        rows = await clickhouse.query(
            f"SELECT toUnixTimestamp64Nano(timestamp), {LEVEL_SHOWN}, {', '.join(KNOWN_IF.values())} FROM {clickhouse.database}.logs", {}
        )
    records = {record.timestamp_ns: record for record in decode_logs(written, RECEIVED_NS)}
    assert len(rows) == len(records)
    count: Counter[str] = Counter()
    for time_ns, level, *flags in rows:
        record, known = records[int(time_ns)], [name for name, flag in zip(KNOWN_IF, flags, strict=True) if flag]
        line = entry(record)
        own = {label for label in INDEX_LABELS if label not in line.stream} & line.metadata.keys()
        assert "level" not in known or normalized(bytes(level).decode()) == line.metadata[LEVEL], record
        assert "no level" not in known or not {"level"} & line.metadata.keys(), record
        assert "labels" not in known or not own, record
        assert ("line" in known) == isinstance(record.body, str | bool | int), record
        count.update(known)
    assert {name: count[name] * 10 // len(rows) for name in ("labels", "level", "no level")} == {"labels": 4, "level": 2, "no level": 2}


def records_of_minutes() -> list[ResourceLogs]:
    """Records on, next to and between the beginnings of minutes of two hours, of two services and levels."""
    offsets = [minute * MINUTE + beside for minute in (0, 1, 2, 58, 59, 60, 61) for beside in (-1, 0, 1, 30 * 10**9)]
    return [
        logs_of(
            service,
            *(wire_log(MINUTE_0 + at, f"{service} {at}", severity_number=9 + 8 * (at % 2), trace_id=new_trace_id()) for at in offsets),
            **{"k8s.pod.name": f"{service}-1"},
        )
        for service in ("shop", "cart")
    ]


MINUTE_0 = START_NS - START_NS % HOUR_NS - START_NS + HOUR_NS
"""The beginning of the next hour, from START_NS on."""
BEGIN = START_NS + MINUTE_0
RANGES = [
    (BEGIN, BEGIN + 2 * HOUR_NS),
    (BEGIN + 1, BEGIN + HOUR_NS + 1),
    (BEGIN - 1, BEGIN + 90 * MINUTE),
    (BEGIN - 7, BEGIN + 61 * MINUTE + 30),
    (BEGIN + 30 * 10**9, BEGIN + 59 * MINUTE + 2),
    (BEGIN + MINUTE, BEGIN + 2 * MINUTE),
]


def added(counts: Sequence[LogCount]) -> dict[Any, list[int]]:
    """Records and bytes of each group."""
    found: dict[Any, list[int]] = {}
    for row in counts:
        total = found.setdefault((row.labels, row.known, row.level, row.slot), [0, 0])
        total[0] += row.records
        total[1] += row.bytes
    return found


async def test_counts_by_the_minute_are_those_of_the_rows(any_tier: HotTier) -> None:
    """Wherever a range or a slot begins and ends, and whichever streams are asked for."""
    memory = MemoryLogs(await any_tier.store_logs(*records_of_minutes()))
    streams = [(), (Matcher("service_name", "=", "shop"),), (Matcher("k8s_pod_name", "=~", "c.*"),)]
    cases = itertools.product(RANGES, (0, MINUTE, 30 * MINUTE, 7 * 10**9), streams, (True, False))
    for (start, end), slot_ns, matchers, by_level in cases:
        if slot_ns in (0, MINUTE) or matchers:
            known: tuple[LineFact, ...] = ("line", "level") if by_level else ()
            counts = LogCounts(
                TimeRange(start, end), streams=matchers, known=known, slot_ns=slot_ns, by_level=by_level, sizes=True, by_stream=by_level
            )
            found = (await any_tier.logs.count_logs("t1", counts, 10_000)).value
            assert added(found) == added((await memory.count_logs(DEFAULT_TENANT, counts, 10_000)).value), counts


async def test_counts_of_levels_by_the_minute_are_those_of_the_rows(any_tier: HotTier) -> None:
    """Also of levels that minutes do not tell apart, and of lines whose level takes reading them."""
    odd = [
        logs_of("odd", *(wire_log(MINUTE_0 + number, "x", severity_text=text) for number, text in enumerate(("unknown", "Error", "odd")))),
        logs_of("read", wire_log(MINUTE_0, "level=error")),
    ]
    records = await any_tier.store_logs(*records_of_minutes(), *odd)
    services = [["shop", "cart"], ["shop", "cart", "odd"], ["read"]]
    levels = ['="error"', '!="error"', '=~"info|err.*"', '="unknown"', '=~"unknown|odd"', '!=""', '=""']
    start, end = RANGES[1]
    for names, level in itertools.product(services, levels):
        query = parse(f'{{service_name=~"{"|".join(names)}"}} | detected_level{level}')
        assert isinstance(query, LineQuery)
        counts = LogCounts(TimeRange(start, end), wanted(query), query.matchers, ("level",), slot_ns=30 * MINUTE, by_level=True)
        expected: Counter[Any] = Counter()
        for record in records:
            line, is_read = entry(record), record.service == "read"
            if record.service in names and start <= record.timestamp_ns < end and (is_read or Pipeline(query.stages).keeps(line.row())):
                labels = tuple(sorted(line.stream.items()))
                expected[labels, not is_read, "" if is_read else line.metadata[LEVEL], (record.timestamp_ns - start) // (30 * MINUTE)] += 1
        found = added((await any_tier.logs.count_logs("t1", counts, 10_000)).value)
        assert {
            (labels, known, normalized(level), slot): count for (labels, known, level, slot), (count, _) in found.items()
        } == expected, counts


async def test_streams_that_agree_in_labels_count_as_one(any_tier: HotTier) -> None:
    """Under the labels that were named."""
    memory = MemoryLogs(await any_tier.store_logs(*records_of_minutes()))
    for names, slot_ns in itertools.product(((), ("service_name",), ("k8s_pod_name", "host_name"), ("k8s_container_name",)), (0, MINUTE)):
        counts = LogCounts(TimeRange(BEGIN, BEGIN + HOUR_NS), slot_ns=slot_ns, labels=names)

        def shown(rows: Sequence[LogCount], names: Sequence[str] = names) -> dict[Any, list[int]]:
            return added([row._replace(labels=tuple(pair for pair in row.labels if pair[0] in names)) for row in rows])

        found = (await any_tier.logs.count_logs("t1", counts, 10_000)).value
        assert shown(found) == shown((await memory.count_logs(DEFAULT_TENANT, counts, 10_000)).value)


async def test_counts_by_the_minute_are_used_where_they_are_complete() -> None:
    """Rows are read only outside of whole minutes."""
    at = {
        (slot_ns, place): whole(LogCounts(TimeRange(*RANGES[place]), slot_ns=slot_ns)) for slot_ns in (0, MINUTE, 7) for place in range(6)
    }
    assert at[0, 0] == at[MINUTE, 0] == TimeRange(*RANGES[0])
    assert at[0, 1] == at[MINUTE, 1] == TimeRange(*RANGES[1])
    assert (at[0, 2], at[MINUTE, 2]) == (TimeRange(BEGIN, BEGIN + 90 * MINUTE), None)
    assert at[0, 4] == TimeRange(BEGIN + MINUTE, BEGIN + 59 * MINUTE)
    assert [at[7, place] for place in range(6)] == [None] * 6
    assert whole(LogCounts(ALL_TIME)) is None
    assert whole(LogCounts(TimeRange(*RANGES[0]), predicate=Not(Compare(intrinsic("detected_level"), "=", "info")))) == at[0, 0]
    assert whole(LogCounts(TimeRange(*RANGES[0]), predicate=Compare(intrinsic("service"), "=", "shop"))) is None


async def counted(place: Place, *streams: Matcher) -> int:
    """Log records of the hour."""
    hour = START_NS - START_NS % HOUR_NS
    found = await place.cold.tier.logs.count_logs("t1", LogCounts(TimeRange(hour, hour + HOUR_NS), streams=streams), 10)
    return sum(row.records for row in found.value)


@pytest.mark.parametrize(("kind", "value", "left"), [("trace", OLD.hex(), 4), ("user", "u1", 3), ("tenant", "t1", 1)])
async def test_deleted_lines_are_not_counted(hot_place: Place, kind: Any, value: str, left: int) -> None:
    """The hour is counted by its rows from then on, also those that come later; the minutes are emptied once."""
    await hot_place.fill()
    assert await counted(hot_place) == 5
    await finish(hot_place, await hot_place.ask(kind, value))
    assert await counted(hot_place) == await counted(hot_place, Matcher("service_name", "=", "bot")) == left
    await hot_place.write("t1", LATER_NS, logs_of("bot", wire_log(6, "later still"), wire_log(7, "and")))
    assert await counted(hot_place) == left + 2
    mutations = f"SELECT count() FROM system.mutations WHERE database = '{hot_place.clickhouse.database}' AND table = 'log_streams' AND command LIKE '%UPDATE%'"
    assert await hot_place.clickhouse.query(mutations, {}) == [(1,)]


class Interrupted(ClickHouseErase):
    """Records come in when those to be deleted have been counted."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.clickhouse)
        self._place = place

    async def _delete_counted(self, table: str, where: str, parameters: Mapping[str, Any], counts: Mapping[str, int]) -> int:
        if table == "logs" and counts:
            await self._place.write("t1", RECEIVED_NS, logs_of("new", wire_log(8, "in the trace", trace_id=OLD)))
        return await super()._delete_counted(table, where, parameters, counts)


async def test_deleted_lines_that_arrive_during_the_deletion_are_not_counted(hot_place: Place) -> None:
    """Where it goes with the rest, its minutes are emptied too."""
    await hot_place.fill()
    erasure = Erasure("t1", "trace", OLD.hex(), BEFORE_NS)
    assert await Interrupted(hot_place).erase_traces(erasure, [OLD]) > 0
    assert await counted(hot_place, Matcher("service_name", "=", "new")) == 0
    assert await counted(hot_place) == 4


@pytest.mark.parametrize(("kind", "value"), [("trace", OLD.hex()), ("user", "u1")])
async def test_counts_of_cold_hours_are_dropped_after_a_deletion(place: Place, kind: Any, value: str) -> None:
    """Wherever the rows were; those of other tenants are kept."""
    await place.fill()
    await place.fill("t2")
    minutes = f"SELECT tenant, sum(records), sum(arraySum(minutes.2)) FROM {place.clickhouse.database}.log_streams GROUP BY tenant ORDER BY tenant"
    assert await place.clickhouse.query(minutes, {}) == [(b"t1", 5, 5), (b"t2", 5, 5)]
    await finish(place, await place.ask(kind, value))
    assert await place.clickhouse.query(minutes, {}) in ([(b"t1", 5, 0), (b"t2", 5, 5)], [(b"t1", 5, 1), (b"t2", 5, 5)])


async def test_a_table_that_is_still_to_be_migrated_is_counted(shared_hot_node: HotNode) -> None:
    """A query service may be of the new version before the tables are: then nothing is known of a line, and every one is read."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        records = await tier.store_logs(*records_of_minutes())
        await clickhouse.command(f"DROP VIEW {clickhouse.database}.logs_to_log_streams")
        await clickhouse.command(f"ALTER TABLE {clickhouse.database}.log_streams DROP COLUMN minutes")
        await clickhouse.command(f"ALTER TABLE {clickhouse.database}.logs DROP COLUMN line_level, DROP COLUMN line_names")
        hours = TimeRange(*RANGES[0])
        reader = ClickHouseLogs(clickhouse)
        known: tuple[LineFact, ...] = ("line", "level", "labels")
        found = (await reader.count_logs("t1", LogCounts(hours, known=known, by_level=True), 1000)).value
        within = [record for record in records if hours.start_ns <= record.timestamp_ns < hours.end_ns]
        assert not any(count.known for count in found)
        assert sum(count.records for count in found) == len(within)
        level = intrinsic("detected_level")
        for predicate in (EVERYTHING, Not(Compare(level, "=", "info")), Or((Not(Exists(level)), Compare(level, "=", "info")))):
            read = (await reader.find_logs("t1", LogQuery(hours, predicate, unknown=known, limit=10_000))).value
            assert len(read) == len(within)
            assert sum(
                count.records for count in (await reader.count_logs("t1", LogCounts(hours, predicate, known=known), 1000)).value
            ) == len(within)
