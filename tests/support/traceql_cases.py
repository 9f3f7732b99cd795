"""The spans that the TraceQL cases of tests/golden/traceql ask about, and the cases."""

from __future__ import annotations

from pathlib import Path

from tael.model.attributes import AttributeValue
from tael.model.span import Event, Link, Resource, Scope, Span

FOLDER = Path(__file__).parents[1] / "golden" / "traceql"
MS = 1_000_000
START = 1_790_000_000_000_000_000
CORE = Scope("lib", "1", {"team": "core"})
SHOP = Resource({"service.name": "shop", "level": "resource"})
DB = Resource({"service.name": "db"})
AGENT = Resource({"service.name": "agent"})


def lines(name: str) -> list[str]:
    return [line for line in (FOLDER / name).read_text().splitlines() if line and not line.startswith("#")]


def pairs(name: str) -> list[tuple[str, str]]:
    return [(query, result.strip()) for query, _, result in (line.rpartition(" =>") for line in lines(name))]


def span(  # as a table
    trace: int, number: int, parent: int, name: str, start_ms: int, length_ms: int, kind: int, resource: Resource,
    attributes: dict[str, AttributeValue] | None = None, *, status: int = 0, message: str = "", scope: Scope = CORE,
    events: tuple[Event, ...] = (), links: tuple[Link, ...] = (),
) -> Span:  # fmt: skip
    def id_of(n: int) -> bytes:
        return (trace << 8 | n).to_bytes(8, "big") if n else b""

    start = START + start_ms * MS
    return Span(
        trace.to_bytes(16, "big"), id_of(number), id_of(parent), name, kind, start, start + length_ms * MS, resource, scope,
        attributes=attributes or {}, status_code=status, status_message=message, events=events, links=links,
    )  # fmt: skip


SPANS = [
    span(
        0xAA, 1, 0, "GET /cart", 0, 100, 2, SHOP, {"http.status_code": 200, "tags": ["a", "b"], "sizes": [1, 2, 3]}
    ),
    span(0xAA, 2, 1, "auth", 1, 10, 3, SHOP, {"cached": True, "level": "span"}),
    span(0xAA, 3, 1, "query db", 12, 50, 3, DB, {"size": 3, "extra": 2}, status=2),
    span(
        0xAA, 4, 3, "read row", 13, 40, 0, DB, {"raw": b"\x00\xff"}, status=2, message="deadlock",
        events=(
            Event(START + 14 * MS, "exception", {"exception.type": "Deadlock", "retries": 1}),
            Event(START + 15 * MS, "retry", {"retries": 2}),
        ),
    ),
    span(0xAA, 5, 1, "render", 70, 20, 1, SHOP, {"cached": False, "odd key": "yes"}),
    span(0xBB, 1, 0, "chat gpt", 0, 200, 3, AGENT, scope=Scope("llm")),
    span(0xBB, 2, 1, "tool one", 10, 30, 1, AGENT, {"size": 3.0}, scope=Scope("llm")),
    span(
        0xBB, 3, 1, "tool two", 50, 30, 1, AGENT, {"size": 4.5}, scope=Scope("llm"),
        links=(Link(b"\0" * 15 + b"\xbb", b"\0" * 6 + b"\x03\x02", attributes={"cause": "tool one"}),),
    ),
    span(0xCC, 2, 1, "orphan", 0, 20, 2, Resource({}), status=2, scope=Scope()),
    span(0xCC, 3, 2, "below", 1, 10, 1, Resource({}), scope=Scope()),
]  # fmt: skip
