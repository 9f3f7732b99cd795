"""The usage of a trace's calls, each counted once, however many spans report it."""

from __future__ import annotations

from tael.model.span import LlmCall, Resource, Scope, Span
from tael.otlp.llm_usage import Usage, usage_of


def span(name: str, parent: str = "", operation: str = "", tokens: int | None = None, cost: float | None = None) -> Span:
    """A span with a name of one letter, and a call if it has an operation."""
    call = LlmCall(operation=operation, input_tokens=tokens, output_tokens=tokens, cost_usd=cost) if operation else None
    ids = (name.encode().ljust(8, b"-"), parent.encode().ljust(8, b"-") if parent else b"")
    return Span(b"t" * 16, *ids, name, 1, 0, 1, Resource(), Scope(), llm=call)


def counted(*spans: Span) -> str:
    """The names of the spans that are counted."""
    return "".join(sorted(found.name for found in spans if found.span_id in usage_of(spans)[1]))


def test_an_agents_sum_does_not_count_beside_its_calls() -> None:
    """Nor does that of a chain around it, with any other spans between them."""
    spans = [
        span("w", "", "workflow", 30),
        span("a", "w", "agent", 30),
        span("h", "a"),
        span("c", "h", "chat", 10),
        span("d", "a", "chat", 20),
    ]
    assert counted(*spans) == "cd"
    assert usage_of(spans)[0] == Usage(2, 30, 30, 0.0)


def test_usage_of_an_agent_counts_if_no_call_has_its_own() -> None:
    """The calls that it includes do not count beside it."""
    assert counted(span("a", "", "agent", 30), span("c", "a", "chat")) == "a"
    assert counted(span("a", "", "agent", 30), span("c", "a", "chat"), span("d", "a", "chat", 5)) == "cd"


def test_a_call_without_usage_counts() -> None:
    """One that failed, for example; once, however many spans report it. Only calls of models do."""
    spans = [span("a", "", "agent"), span("g", "a", "chat"), span("i", "g", "chat"), span("t", "i", "tool"), span("e", "t", "embedding")]
    assert counted(*spans) == "ei"
    assert usage_of(spans)[0] == Usage(2)


def test_a_failed_attempt_leaves_the_usage_of_the_call_around_it() -> None:
    assert counted(span("g", "", "chat", 10), span("i", "g", "chat")) == "g"
    assert counted(span("g", "", "chat"), span("i", "g", "chat", 10), span("j", "g", "chat")) == "ij"


def test_an_sdks_span_around_an_instrumentations_is_one_call() -> None:
    """If both are of the same kind; an embedding within a chat is another call."""
    assert counted(span("s", "", "chain", 10), span("g", "s", "chat", 10), span("i", "g", "chat", 10)) == "i"
    assert counted(span("g", "", "chat", 10), span("e", "g", "embedding", 3)) == "eg"


def test_a_call_that_a_tool_makes_is_another() -> None:
    """A chat that runs tools within its span keeps its own usage; the agent around both does not."""
    spans = [span("a", "", "agent", 30), span("g", "a", "chat", 10), span("t", "g", "tool"), span("n", "t", "chat", 20)]
    assert counted(*spans) == "gn"


def test_costs_are_reported_or_computed() -> None:
    """Known costs are added."""
    spans = [span("c", "", "chat", 1, 0.5), span("d", "", "chat", 1), span("e", "", "chat", 1, 0.25)]
    assert usage_of(spans)[0].cost_usd == 0.75


def test_a_circle_of_parents_ends() -> None:
    """Parents are as senders wrote them."""
    assert counted(span("a", "b", "agent", 1), span("b", "a", "chat", 1)) == "b"


def test_a_trace_without_calls_used_nothing() -> None:
    assert usage_of([span("a")]) == (Usage(), frozenset())
