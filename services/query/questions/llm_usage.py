"""Queries of the usage and cost of LLM calls by group, of sessions, and of tools."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.query.backend import Backend
from services.query.parameters import Parameters
from services.query.questions.page import RANGE
from tael.errors import Rejected
from tael.model.llm_calls import LlmCalls, LlmUsage, grouped
from tael.model.time import TimeRange
from tael.otlp import genai
from tael.storage.api import Answer

MAX_SPANS: Final = 1_000_000
"""How many spans of traces with LLM calls one query may read."""
FILTERS: Final = {
    "service": ("service",),
    "provider": ("provider",),
    "model": ("model", "response_model"),
    "operation": ("operation",),
    "session": ("session_id",),
    "user": ("user_id",),
    "agent": ("agent_name",),
    "tool": ("tool_name",),
}
"""Parameters, and the columns of a call that they are compared with."""
OPERATIONS: Final = (*dict.fromkeys(genai.OPERATIONS.values()), genai.OTHER_OPERATION)
BY: Final = {name: columns[0] for name, columns in FILTERS.items()} | {"response_model": "response_model"}
_DEFAULT_RANGE_S: Final = 24 * 3600
_DEFAULT_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Usages:
    """Groups in the order of the answer, and their total; ``by`` names the members of each key."""

    by: tuple[str, ...]
    groups: list[LlmUsage]
    total: LlmUsage | None
    missing: tuple[str, ...]


@contextlib.asynccontextmanager
async def usage(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Usages]:
    """Usage of the calls that count, the most expensive group first. Takes ``by`` (default: model), FILTERS, a range and ``limit``.

    Raises Rejected, TooLarge, and what the reader raises.
    """
    parameters = Parameters(pairs, known=(*FILTERS, *RANGE, "by", "limit"))
    by = tuple(name.strip() for name in (parameters.text("by") or "model").split(","))
    for name in by:
        if name not in BY:
            raise Rejected(f"{name!r} cannot be grouped by", where="by", accepted=f"some of {', '.join(BY)}, with commas between")
    limit = _limit(backend, parameters)
    async with _calls(backend, tenant, parameters) as answer:
        counted = answer.value.take(answer.value.counted)
        groups = await asyncio.to_thread(grouped, counted, [BY[name] for name in by])
        groups.sort(key=lambda one: (-one.cost_usd, -sum(one.tokens.values()), one.key))
        yield Usages(by, groups[:limit], next(iter(grouped(counted, ())), None), answer.missing)


@dataclass(frozen=True, slots=True)
class Session:
    """A session and its usage; ``names`` lists the ``users``, ``services``, ``agents`` and ``models`` that its calls name."""

    used: LlmUsage
    names: Mapping[str, list[str]]


@contextlib.asynccontextmanager
async def sessions(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Answer[list[Session]]]:
    """Sessions with a call that counts, the one with the newest call first. Takes FILTERS, a range and ``limit``. Raises as
    ``usage`` does.
    """
    parameters = Parameters(pairs, known=(*FILTERS, *RANGE, "limit"))
    limit = _limit(backend, parameters)
    async with _calls(backend, tenant, parameters) as answer:
        found = await asyncio.to_thread(lambda: list(_sessions(answer.value.take(answer.value.counted))))
        found.sort(key=lambda session: (-session.used.last_ns, session.used.key))
        yield Answer(found[:limit], answer.missing)


_NAMED: Final = {"users": "user_id", "services": "service", "agents": "agent_name", "models": "model"}


def _sessions(calls: LlmCalls) -> Iterator[Session]:
    names: dict[str, dict[str, set[str]]] = {}
    for plural, column in _NAMED.items():
        for one in grouped(calls, ("session_id", column)):
            names.setdefault(one.key[0], {}).setdefault(plural, set()).add(one.key[1])
    for one in grouped(calls, ("session_id",)):
        if one.key[0]:
            yield Session(one, {plural: sorted(names[one.key[0]][plural] - {""}) for plural in _NAMED})


@contextlib.asynccontextmanager
async def tools(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Answer[list[LlmUsage]]]:
    """Calls of each tool, by name and agent, the most called first. Takes FILTERS, a range and ``limit``. Raises as ``usage`` does."""
    parameters = Parameters(pairs, known=(*FILTERS, *RANGE, "limit"))
    limit = _limit(backend, parameters)
    async with _calls(backend, tenant, parameters) as answer:
        operation = answer.value.words["operation"]
        is_tool = [word == "tool" for word in operation.words]
        called = answer.value.take(_flags(is_tool)[operation.codes]) if is_tool else answer.value
        groups = await asyncio.to_thread(grouped, called, ("tool_name", "agent_name"))
        yield Answer(sorted(groups, key=lambda one: (-one.calls, one.key))[:limit], answer.missing)


def quantile_ns(ordered: Sequence[int], share: float) -> int:
    """The smallest duration that this share of the calls did not exceed; ``ordered`` is ascending and not empty."""
    # Rounded up, by flooring the negative: 0.95 of ten calls is all ten.
    return int(ordered[min(len(ordered) - 1, max(0, -int(-len(ordered) * share // 1) - 1))])


@contextlib.asynccontextmanager
async def _calls(backend: Backend, tenant: str, parameters: Parameters) -> AsyncIterator[Answer[LlmCalls]]:
    time_range = range_of(parameters, time.time_ns())
    given = {name: parameters.text(name) for name in FILTERS} | {"operation": parameters.choice("operation", OPERATIONS)}
    wanted = {name: text for name, text in given.items() if text}
    async with backend.turns.turn("llm", tenant) as turn:
        answer = await turn.ask(backend.llm.calls(tenant, time_range, MAX_SPANS))
        yield Answer(await asyncio.to_thread(filtered, answer.value, wanted), answer.missing)


def range_of(parameters: Parameters, now_ns: int) -> TimeRange:
    """The requested range, by default the last day."""
    has_range = any(parameters.text(name) for name in RANGE)
    return parameters.time_range(now_ns=now_ns) if has_range else TimeRange.last(_DEFAULT_RANGE_S, now_ns=now_ns)


def filtered(calls: LlmCalls, wanted: Mapping[str, str]) -> LlmCalls:
    """The calls that have every wanted word in one of the columns that FILTERS names for it."""
    for name, text in wanted.items():
        held = _flags([False]).repeat(len(calls))
        for column in FILTERS[name]:
            words = calls.words[column]
            if len(words.words):
                held = held | _flags([word == text for word in words.words])[words.codes]
        calls = calls.take(held)
    return calls


def _flags(values: Sequence[bool]) -> np.typing.NDArray[np.bool_]:
    return np.array(values, np.bool_)


def _limit(backend: Backend, parameters: Parameters) -> int:
    most = backend.settings.max_query_limit
    return parameters.whole("limit", default=_DEFAULT_LIMIT, low=1, high=most, high_from="TAEL_MAX_QUERY_LIMIT")
