"""What extracting payloads costs a receiver and saves in the WAL, and how fast payloads are written, rolled, read and searched.

python -m bench.payloads [--payloads 200000]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from bench.small import cpu_ms
from services.ingest.admission import Cut, Tolerant
from services.ingest.pipeline import Pipeline
from tael.cluster.shard import Router
from tael.cold.files import hour_of
from tael.model.payload import PREFIX
from tael.model.search import find_spans
from tael.model.signals import PAYLOADS, TRACES
from tael.model.time import ALL_TIME, HOUR_NS
from tael.otlp.extract import Sizes
from tael.otlp.signals import SIGNALS
from tael.storage.api import SpanQuery
from tael.storage.clickhouse.client import Limits
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer, object_settings
from tests.support.otlp import BASE_NS, MemoryLog, receiver_settings
from tests.support.storage import START_NS, HotTier, open_tier

WORDS = [hashlib.sha256(str(number).encode()).hexdigest()[: 3 + number % 9] for number in range(30_000)]
SYSTEM = " ".join(random.Random(0).choices(WORDS, k=800))
ROUNDS, AT_ONCE = 40, 20
NOTHING = Sizes(1 << 60, 1 << 60)


def request_of(spans: int, attribute_bytes: int, *, prompts: bool = False, seed: int = 0) -> bytes:
    """Spans with eleven attributes, with values of this size; LLM calls share a system prompt and have a question of their own."""
    rng, request = random.Random(seed), ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    into = group.scope_spans.add().spans
    for _ in range(spans):
        span = into.add(trace_id=rng.randbytes(16), span_id=rng.randbytes(8), name="GET /cart", start_time_unix_nano=BASE_NS)
        for number in range(11):
            span.attributes.add(key=f"http.attribute.{number}").value.string_value = "v" * attribute_bytes
        if prompts:
            span.attributes.add(key="gen_ai.system_instructions").value.string_value = SYSTEM
            span.attributes.add(key="gen_ai.input.messages").value.string_value = " ".join(rng.choices(WORDS, k=400))
    return request.SerializeToString()


def least_ms(*calls: Callable[[], object]) -> list[float]:
    """The CPU time of each call: the minimum of several rounds through all calls."""
    found = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for index, call in enumerate(calls):
            started = time.process_time()
            for _ in range(AT_ONCE):
                call()
            found[index] = min(found[index], (time.process_time() - started) / AT_ONCE * 1000)
    return found


def admission() -> None:
    """Measure the check and the cut of a request, with payloads and without."""
    pipeline = Pipeline(MemoryLog(), Router(1), receiver_settings(), registry=CollectorRegistry())
    apart = pipeline.admission(SIGNALS[TRACES])
    assert isinstance(apart, Tolerant)
    whole, cut = replace(apart, sizes=NOTHING), Cut(Router(1), 8 << 20, BASE_NS)
    shapes = {
        "100 spans of 0.4 KiB": request_of(100, 12),
        "100 spans of 4 KiB, no value large": request_of(100, 350),
        "100 LLM calls of 9 KiB": request_of(100, 12, prompts=True),
    }
    for name, request in shapes.items():
        before, after = least_ms(lambda r=request: whole.admit("t", r, cut), lambda r=request: apart.admit("t", r, cut))  # type: ignore[misc]
        print(f"{name} ({len(request)} bytes): {before:.3f} ms without, {after:.3f} ms with payloads: {100 * (after / before - 1):+.1f} %")


async def wal_bytes() -> None:
    """The WAL's bytes of a thousand calls with one system prompt."""
    log = MemoryLog()
    pipeline = Pipeline(log, Router(1), receiver_settings(), registry=CollectorRegistry())
    received = 0
    for seed in range(100):
        request = request_of(10, 12, prompts=True, seed=seed)
        received += len(request)
        async with pipeline.reserve("t") as reservation:
            await pipeline.admit(SIGNALS[TRACES], "t", request, reservation)
    appended = sum(len(body) for _, _, body, _ in log.appended)
    print(
        f"1,000 LLM calls: {received} bytes received, {appended} in the WAL, of them {sum(len(b) for _, s, b, _ in log.appended if s == PAYLOADS)} of payloads"
    )


async def storage(tier: HotTier, count: int, pid: int) -> None:
    """Write and read payloads of 2 KiB, each with a span that refers to it."""
    rng, hashes = random.Random(1), list[bytes]()
    started, size = time.perf_counter(), 0
    for number in range(0, count, 5_000):
        contents = [_content(rng, number + one) for one in range(min(5_000, count - number))]
        size += sum(map(len, contents))
        hashes += await tier.store_payloads(*contents, tenant="t")
    seconds = time.perf_counter() - started
    (bytes_on_disk,) = (
        await tier.clickhouses[0].query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'payloads'", {})
    )[0]
    print(
        f"{count} payloads of {size // count} bytes: {count / seconds:,.0f}/s written, {int(bytes_on_disk) / count:,.0f} bytes each on disk"
    )
    chosen = rng.sample(hashes, 50)
    await read(tier, chosen, count, pid, rounds=20)
    assert tier.cold is not None
    started, cpu = time.perf_counter(), cpu_ms(pid)
    await tier.cold.roll()
    manifest = await tier.cold.manifests.read(0)
    held = manifest.head.held["payloads"]
    print(
        f"rolled: {count / (time.perf_counter() - started):,.0f}/s, {(cpu_ms(pid) - cpu) / count * 1000:.1f} µs of the hot node's CPU"
        f" and {held.bytes / count:,.0f} bytes each in {held.files} file"
    )
    await read(tier, chosen, count, pid, rounds=5)
    await store_spans(tier)
    await tier.cold.roll()
    await search(tier, count, pid, "with a span each", rounds=5)


async def store_spans(tier: HotTier) -> None:
    """Write an LLM call for each payload, which refers to it, all over their hour."""
    (clickhouse,) = tier.clickhouses
    start = f"{hour_of(START_NS)} + toInt64(rowNumberInAllBlocks()) * 1000000 % {HOUR_NS}"
    await clickhouse.command(
        f"INSERT INTO {clickhouse.database}.spans\n"  # names of ours
        "(tenant, service, start_time, duration_ns, trace_id, span_id, name, attributes_string, llm_operation, received_at)\n"
        f"SELECT 't', 'shop', fromUnixTimestamp64Nano({start}, 'UTC') AS at, 5, toFixedString(substring(hash, 1, 16), 16), toFixedString(substring(hash, 1, 8), 8),\n"
        f"  'chat', map('gen_ai.operation.name', 'chat', 'gen_ai.prompt', concat('{PREFIX}', lower(hex(hash)), ':2250')), 'chat', at\n"
        f"FROM {clickhouse.database}.payload_hours SETTINGS max_threads = 1, max_insert_threads = 1",
        limits=Limits(seconds=600),
    )


def _content(rng: random.Random, number: int) -> bytes:
    """2 KiB of words: one that no other payload has, one that every payload has, and one that every ten-thousandth has."""
    return f"needle{number} assistant {'' if number % 10_000 else 'seldom '}{' '.join(rng.choices(WORDS, k=280))}".encode()


async def read(tier: HotTier, chosen: list[bytes], count: int, pid: int, *, rounds: int) -> None:
    """Read payloads by hash and by a word, wherever they are stored."""
    await timed("one by its hash", [lambda h=h: tier.payloads.get_payloads("t", [h]) for h in chosen], pid)  # type: ignore[misc]
    await timed("50 by their hashes", [lambda: tier.payloads.get_payloads("t", chosen)] * 5, pid)
    await search(tier, count, pid, "without spans", rounds=rounds)


async def search(tier: HotTier, count: int, pid: int, spans: str, *, rounds: int) -> None:
    """Look for words of payloads."""
    rng = random.Random(2)
    asked = {
        "one payload has": [f"needle{rng.randrange(count)}" for _ in range(rounds)],
        "every ten-thousandth has": ["seldom"] * rounds,
        "every payload has": ["assistant"] * rounds,
        "one has, and one that every payload has": [f"needle{rng.randrange(count)} assistant" for _ in range(rounds)],
        "none has": [f"absent{number}" for number in range(rounds)],
    }
    for name, words in asked.items():
        queries = [SpanQuery(ALL_TIME, find_spans(text=word)) for word in words]
        await timed(f"text= of a word that {name}, {spans}", [lambda q=q: tier.reader.find_spans("t", q) for q in queries], pid)  # type: ignore[misc]


async def timed(name: str, calls: list[Callable[[], object]], pid: int) -> None:
    """The median time of the calls, and the hot node's processor time for one."""
    found, cpu = [], cpu_ms(pid)
    for call in calls:
        started = time.perf_counter()
        await call()  # type: ignore[misc]
        found.append(time.perf_counter() - started)
    cpu = (cpu_ms(pid) - cpu) / len(calls)
    print(f"{name}: {sorted(found)[len(found) // 2] * 1000:.1f} ms, at most {max(found) * 1000:.1f}; the hot node {cpu:.0f} ms of CPU")


async def main() -> None:
    """Run everything on this machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=200_000)
    count = parser.parse_args().payloads
    admission()
    await wal_bytes()
    with tempfile.TemporaryDirectory() as folder, HotNode(Path(folder) / "node", environment=object_settings()) as node:
        store = ObjectServer(Path(folder) / "objects")
        store.start()
        try:
            async with open_tier([node], tiering="cold", deadline_seconds=27) as tier:
                tier.rolls = False
                assert node.process is not None
                await storage(tier, count, node.process.pid)
        finally:
            store.stop()


if __name__ == "__main__":
    asyncio.run(main())
