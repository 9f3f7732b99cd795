"""The data set of bench.search: spans and log records written through the engine, so that every view fills, and kept between runs.

Everything is derived from hashes of a row's number, so all runs have the same data. Spans: ten per trace on average; ids are random; traces
begin evenly spaced over the range, and their spans begin within a second; durations are exponential (mean 40 ms), 2 % are errors; 20
services, of which the first has a third of all spans; 50 operations per service, skewed in the same way. Their eleven attributes, with the
number of values of each:

    http.request.method 4 (70 % GET)   http.route 200, skewed   url.path 1,000,000   server.address 200   client.address 60,000
    user_agent.original 30             session.id one a trace   http.response.status_code 5   server.port 1
    http.response.body.size 9,000      cache.hit 2

and five resource attributes: service.name, service.version (3), host.name (40), deployment.environment.name (2), process.pid (1000). Log
records: half belong to a trace; bodies have some 12 of 3,000 words, and one of 10 million numbers; 5 % errors; 20 services with 40 pods
each.
"""

from __future__ import annotations

from typing import Final

from tael.storage.clickhouse.client import ClickHouse, Limits

TENANT: Final = "default"
END_S: Final = 1_790_006_400
"""The end of the range: the end of an hour."""
SPANS_A_TRACE: Final = 10
ROWS_AT_ONCE: Final = 500_000
LIMITS: Final = Limits(seconds=600)
_SETTINGS: Final = "SETTINGS max_insert_threads = 1, max_block_size = 20000, min_insert_block_size_rows = 100000, max_threads = 1"

_SKEWED: Final = "toUInt32(floor({n} * pow(toFloat64({hash} % 1000003) / 1000003, 3)))"
"""Of n values: the first has the cube root of 1/n of all rows, a third of 20 and a sixth of 200."""


def skewed(n: int, seed: int, of: str) -> str:
    """A number below n; small ones are more frequent."""
    return _SKEWED.format(n=n, hash=f"xxHash64({of}, {seed})")


def uniform(n: int, seed: int, of: str) -> str:
    """A number below n, uniformly distributed."""
    return f"(xxHash64({of}, {seed}) % {n})"


def trace_id(trace: str) -> str:
    """The id of the trace with a given number."""
    return f"sipHash128({trace}, 'trace')"


def spans_sql(database: str, first: int, count: int, total: int, hours: int, shard: int = 0, shards: int = 1) -> str:
    """The statement that inserts these of ``total`` spans, or only those of a shard's traces."""
    traces, ns = total // SPANS_A_TRACE, hours * 3_600 * 10**9
    start = f"{END_S * 10**9 - ns} + toInt64(toFloat64(trace) / {traces} * {ns - 2 * 10**9}) + toInt64({uniform(10**9, 3, 'number')})"
    strings = {
        "http.request.method": f"['GET', 'GET', 'GET', 'GET', 'GET', 'GET', 'GET', 'POST', 'PUT', 'DELETE'][{uniform(10, 5, 'number')} + 1]",
        "http.route": f"concat('/api/v1/thing-', toString({skewed(200, 6, 'number')}), '/{{id}}')",
        "url.path": f"concat('/api/v1/item/', toString({uniform(10**6, 7, 'number')}))",
        "server.address": f"concat('10.0.0.', toString({uniform(200, 8, 'number')}))",
        "client.address": f"concat('192.168.', toString({uniform(240, 9, 'number')}), '.', toString({uniform(250, 10, 'number')}))",
        "user_agent.original": f"concat('Mozilla/5.0 (X11; Linux x86_64) bench/', toString({skewed(30, 11, 'number')}))",
        "session.id": "concat('s-', lower(hex(xxHash64(trace, 12))))",
    }
    ints = {
        "http.response.status_code": f"[200, 200, 200, 200, 201, 302, 404, 500][{uniform(8, 13, 'number')} + 1]",
        "server.port": "443",
        "http.response.body.size": uniform(9_000, 14, "number"),
    }
    resource = {
        "service.name": "svc",
        "service.version": f"concat('1.', toString({uniform(3, 15, 'svc_n')}), '.0')",
        "host.name": f"concat('node-', toString({uniform(40, 16, 'trace')}))",
        "deployment.environment.name": f"['production', 'staging'][{uniform(2, 17, 'svc_n')} + 1]",
    }
    columns = {
        "tenant": f"'{TENANT}'",
        "service": "svc",
        "start_time": f"fromUnixTimestamp64Nano({start}, 'UTC')",
        "duration_ns": f"toInt64(-log(toFloat64({uniform(10**6, 18, 'number')} + 1) / 1000001) * 40000000)",
        "trace_id": f"toFixedString({trace_id('trace')}, 16)",
        "span_id": "toFixedString(reinterpretAsString(xxHash64(number, 19)), 8)",
        "parent_span_id": f"if(number % {SPANS_A_TRACE} = 0, '', reinterpretAsString(xxHash64(number - 1 - {uniform(3, 20, 'number')} % greatest(1, number % {SPANS_A_TRACE}), 19)))",
        "name": f"concat('GET /', svc, '/operation-', toString({skewed(50, 21, 'number')}))",
        "kind": f"toInt32([2, 2, 3, 1][{uniform(4, 22, 'number')} + 1])",
        "status_code": f"toInt32(if({uniform(50, 23, 'number')} = 0, 2, 0))",
        "attributes_string": _map(strings),
        "attributes_int": f"CAST({_map(ints)}, 'Map(String, Int64)')",
        "attributes_bool": f"CAST(map('cache.hit', {uniform(10, 24, 'number')} < 3), 'Map(String, Bool)')",
        "resource_string": f"CAST({_map(resource)}, 'Map(LowCardinality(String), LowCardinality(String))')",
        "resource_int": f"CAST(map('process.pid', {uniform(1000, 25, 'svc_n')}), 'Map(LowCardinality(String), Int64)')",
        "scope_name": "'io.opentelemetry.http'",
        "received_at": f"fromUnixTimestamp64Nano({start} + 1000000000, 'UTC')",
    }
    inner = f"SELECT number, intDiv(number, {SPANS_A_TRACE}) AS trace, {skewed(20, 2, 'number')} AS svc_n, concat('service-', toString(svc_n)) AS svc FROM numbers({first}, {count}) WHERE trace % {shards} = {shard}"
    return _insert(f"{database}.spans", columns, inner)


def logs_sql(database: str, first: int, count: int, total: int, hours: int) -> str:
    """The statement that inserts these of ``total`` log records, which belong to the traces of as many spans."""
    ns = hours * 3_600 * 10**9
    words = ", ' ', ".join(f"concat('word', toString({skewed(3_000, 30 + at, 'number')}))" for at in range(11))
    instant = f"fromUnixTimestamp64Nano({END_S * 10**9 - ns} + toInt64(toFloat64(number) / {total} * {ns - 10**9}) + toInt64({uniform(10**8, 50, 'number')}), 'UTC')"
    resource = {
        "service.name": "svc",
        "k8s.namespace.name": "'shop'",
        "k8s.pod.name": f"concat(svc, '-', toString({uniform(40, 51, 'number')}))",
        "deployment.environment.name": "'production'",
    }
    columns = {
        "tenant": f"'{TENANT}'",
        "service": "svc",
        "timestamp": instant,
        "serial": "xxHash64(number, 52)",
        "observed_timestamp": instant,
        "trace_id": f"if(number % 2 = 0, toFixedString({trace_id(f'intDiv(number, {2 * SPANS_A_TRACE})')}, 16), toFixedString('', 16))",
        "severity_number": "if(failed, 17, 9)",
        "severity_text": "if(failed, 'ERROR', 'INFO')",
        "level": "if(failed, 'error', 'info')",
        "body": f"concat({words}, ' request ', toString({uniform(10**7, 53, 'number')}))",
        "body_type": "'string'",
        "attributes_string": _map(
            {
                "logger.name": f"concat('com.shop.', toString({uniform(100, 54, 'number')}))",
                "user.id": f"concat('u-', toString({uniform(10**6, 55, 'number')}))",
            }
        ),
        "attributes_int": f"CAST(map('thread.id', {uniform(64, 56, 'number')}), 'Map(String, Int64)')",
        "resource_string": f"CAST({_map(resource)}, 'Map(LowCardinality(String), LowCardinality(String))')",
        "received_at": instant,
    }
    inner = f"SELECT number, concat('service-', toString({skewed(20, 57, 'number')})) AS svc, {uniform(20, 58, 'number')} = 0 AS failed FROM numbers({first}, {count})"
    return _insert(f"{database}.logs", columns, inner)


def _map(pairs: dict[str, str]) -> str:
    listed = ", ".join(f"'{key}', {value}" for key, value in pairs.items())
    return f"map({listed})"


def _insert(table: str, columns: dict[str, str], rows: str) -> str:
    selected = ",\n  ".join(f"{text} AS `own {name}`" for name, text in columns.items())
    return f"INSERT INTO {table} ({', '.join(columns)})\nSELECT\n  {selected}\nFROM ({rows})\n{_SETTINGS}"


async def fill(clickhouse: ClickHouse, spans: int, logs: int, hours: int) -> None:
    """Write everything, half a million rows per statement."""
    for sql, total in ((spans_sql, spans), (logs_sql, logs)):
        for first in range(0, total, ROWS_AT_ONCE):
            await clickhouse.command(sql(clickhouse.database, first, min(ROWS_AT_ONCE, total - first), total, hours), limits=LIMITS)
            print(f"{sql.__name__} {first + ROWS_AT_ONCE:,} of {total:,}", flush=True)
