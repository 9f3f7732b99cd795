"""Test doubles of the query service's reader ports, each over a list in memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from tael.cluster.cold import Cold, ShardCold, State
from tael.cold.manifest import Head, Held
from tael.cold.plan import Partition
from tael.model.llm_calls import LlmCalls
from tael.model.span import STATUS_ERROR, Span
from tael.model.tenant import DEFAULT_TENANT
from tael.model.time import ALL_TIME, HOUR_NS, TimeRange, signed_ns
from tael.otlp.matches import span_test
from tael.storage.api import Answer, Cursor, ServiceStats, SpanQuery, TraceTooLong
from tael.storage.holdings import Holding
from tael.storage.long_traces import Form, Key, Origin, Outline, Part, Slice, in_order
from tael.storage.merge import newest_first, oldest_first
from tael.storage.topology import Calls, Operation
from tests.support.llm import calls_of


class MemorySpans:
    """A SpanReader over a list of spans, filtered by SpanQuery."""

    def __init__(self, spans: Sequence[Span] = ()) -> None:
        self.spans = list(spans)

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        """See SpanReader."""
        found = sorted((span for span in self._of(tenant) if _matches(span, query)), key=newest_first)
        return Answer(found[: query.limit])

    async def get_trace(
        self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None, most: int | None = None
    ) -> Answer[list[Span]]:
        """See SpanReader."""
        found = sorted((span for span in self._of(tenant) if span.trace_id == trace_id), key=oldest_first)
        if most is not None and len(found) > most:
            raise TraceTooLong(most)
        return Answer(found if time_range is None or any(span.start_ns < time_range.end_ns for span in found) else [])

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """See SpanReader."""
        services: dict[str, list[Span]] = {}
        for span in self._of(tenant):
            if time_range.start_ns <= signed_ns(span.start_ns) < time_range.end_ns:
                services.setdefault(span.service, []).append(span)
        return Answer([_stats(name, spans) for name, spans in sorted(services.items())])

    def _of(self, tenant: str) -> list[Span]:
        return self.spans if tenant == DEFAULT_TENANT else []


class MemoryLongTraces:
    """A LongTraceReader over a list of spans, none of which has encoded bytes."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    def _of(self, trace_id: bytes) -> list[Span]:
        return in_order(span for span in self._spans if span.trace_id == trace_id)

    async def outline(self, tenant: str, trace_id: bytes, most: int, step: int) -> Answer[Outline]:
        """See LongTraceReader."""
        spans = self._of(trace_id)
        return Answer(Outline(len(spans), any(span.llm for span in spans), list(map(Key.of, spans[:most:step]))))

    async def read_spans(self, tenant: str, part: Part) -> Answer[list[Span]]:
        """See LongTraceReader."""
        own = [span for span in self._of(part.trace_id) if part.first <= Key.of(span) and (part.end is None or Key.of(span) < part.end)]
        return Answer(own[: part.limit])

    async def read_bytes(self, tenant: str, part: Part, form: Form, known: Collection[int] = ()) -> Answer[Slice]:
        """See LongTraceReader."""
        spans = (await self.read_spans(tenant, part)).value
        keys = list(map(Key.of, spans))
        origins = {hash(key): Origin(span.resource, span.scope) for key, span in zip(keys, spans, strict=True)}
        return Answer(Slice(keys, spans, list(map(hash, keys)), [()] * len(spans), origins))

    async def calls(self, tenant: str, trace_id: bytes) -> Answer[list[Span]]:
        """See LongTraceReader."""
        return Answer(self._of(trace_id))


class MemoryTopology:
    """A TopologyReader over a list of spans."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[set[str]]:
        """See TopologyReader."""
        return Answer({span.service for span in self._spans})

    async def list_operations(self, tenant: str, service: str, time_range: TimeRange) -> Answer[set[Operation]]:
        """See TopologyReader."""
        return Answer({(span.name, span.kind) for span in self._spans if span.service == service})

    async def count_calls(self, tenant: str, time_range: TimeRange) -> Answer[Calls]:
        """See TopologyReader."""
        services = {(span.trace_id, span.span_id): span.service for span in self._spans}
        parents = ((services.get((span.trace_id, span.parent_span_id)), span.service) for span in self._spans)
        return Answer(Counter((parent, child) for parent, child in parents if parent is not None))


class MemoryLlm:
    """An LlmReader over a list of spans."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    async def calls(self, tenant: str, time_range: TimeRange, max_rows: int) -> Answer[LlmCalls]:
        """See LlmReader."""
        return Answer(calls_of(self._spans if tenant == DEFAULT_TENANT else [], time_range))

    async def has_calls(self, tenant: str, time_range: TimeRange) -> Answer[bool]:
        """See LlmReader."""
        return Answer(len((await self.calls(tenant, time_range, 1 << 62)).value) > 0)


class MemoryHoldings:
    """A HoldingReader over holdings given by a test."""

    def __init__(self, *holdings: Holding) -> None:
        self._holdings = holdings

    async def holdings(self, tenant: str | None) -> Answer[list[Holding]]:
        """See HoldingReader."""
        return Answer([one for one in self._holdings if tenant in (None, one.tenant)])


def _stats(name: str, spans: Sequence[Span]) -> ServiceStats:
    errors = sum(span.status_code == STATUS_ERROR for span in spans)
    return ServiceStats(name, len(spans), len({span.trace_id for span in spans}), errors, sum(span.duration_ns for span in spans))


def _matches(span: Span, query: SpanQuery) -> bool:
    return (
        query.time_range.start_ns <= signed_ns(span.start_ns) < query.time_range.end_ns
        and span_test(query.predicate)(span)
        and (query.after is None or _follows(span, query.after))
    )


def _follows(span: Span, after: Cursor) -> bool:
    return newest_first(span) > (-signed_ns(after.start_ns), after.trace_id, after.span_id)


class MemoryPayloads:
    """A PayloadReader over contents by tenant."""

    def __init__(self, contents: Mapping[str, Sequence[bytes]] | None = None) -> None:
        self._held = {tenant: {hashlib.sha256(one).digest(): one for one in several} for tenant, several in (contents or {}).items()}

    async def get_payloads(self, tenant: str, hashes: Collection[bytes], time_range: TimeRange = ALL_TIME) -> Answer[dict[bytes, bytes]]:
        held = self._held.get(tenant, {})
        return Answer({sha256: held[sha256] for sha256 in hashes if sha256 in held})


class MemoryCold:
    """The query service's ColdTier with one shard and one file of spans; records what was requested."""

    def __init__(self) -> None:
        self.before_ns = 0
        self._state: State = "ok"

    async def look(self) -> Answer[Cold]:
        """See ColdTier. The first look after a rebuild finds the manifest missing."""
        state, self._state = self._state, "ok"
        head = Head(0, 7, 1, cold={"spans": (0, HOUR_NS)}, held={"spans": Held(2, 1000, 40_000)})
        hot = [one for one in [Partition("spans", 2 * HOUR_NS, 10, 900, 0)] if one.hour_ns + HOUR_NS > self.before_ns]
        return Answer(Cold([ShardCold(0, state, head, hot)], self.before_ns))

    async def roll(self, before_ns: int) -> None:
        """See ColdTier."""
        self.before_ns = before_ns

    async def rebuild(self, *, force: bool) -> list[int]:
        """See ColdTier."""
        self._state = "missing" if force else "ok"
        return [0] if force else []
