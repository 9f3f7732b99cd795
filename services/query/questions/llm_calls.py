"""The query of single LLM calls."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from services.query.backend import Backend
from services.query.parameters import Parameters
from services.query.questions.cursor import decode_cursor
from services.query.questions.llm_usage import FILTERS, OPERATIONS
from services.query.questions.page import Page, read_page
from services.query.questions.spans import page_of_spans
from tael.model.predicate import Compare, Or, Predicate, all_of, intrinsic
from tael.model.search import find_spans
from tael.model.span import STATUS_NAMES, Span
from tael.otlp.prices import PRICED_OPERATIONS
from tael.storage.api import SpanQuery

ANY: Final = "any"


@contextlib.asynccontextmanager
async def find_calls(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Page[Span]]:
    """Spans of model calls, newest first, that match FILTERS, ``status``, ``min_cost_usd`` and ``text``. ``operation`` selects other kinds
    of calls, or ``any``. Raises Rejected, and what the reader raises.
    """
    page = read_page(
        pairs,
        (*FILTERS, "status", "min_cost_usd", "text"),
        decode_cursor,
        now_ns=time.time_ns(),
        max_limit=backend.settings.max_query_limit,
    )
    query = SpanQuery(page.time_range, _predicate(page.parameters), page.limit, page.after)
    async with backend.turns.turn("llm", tenant) as turn:
        yield await page_of_spans(backend, turn, tenant, query, page.digest)


def _predicate(parameters: Parameters) -> Predicate:
    operation = parameters.choice("operation", (*OPERATIONS, ANY))
    kinds = (operation,) if operation else PRICED_OPERATIONS
    is_call = Compare(intrinsic("llm_operation"), "!=", "") if operation == ANY else _one_of("llm_operation", kinds)
    status = parameters.choice("status", STATUS_NAMES)
    words = {name: parameters.text(name) for name in ("provider", "session", "user", "agent", "tool") if parameters.text(name)}
    return all_of(
        (
            is_call,
            find_spans(
                service=parameters.text("service"),
                status_code=STATUS_NAMES.index(status) if status else None,
                model=parameters.text("model"),
                min_cost_usd=parameters.number("min_cost_usd"),
                text=parameters.text("text"),
                attributes=parameters.key_values("attribute"),
            ),
            *(Compare(intrinsic(f"llm_{FILTERS[name][0]}"), "=", text) for name, text in words.items()),
        )
    )


def _one_of(name: str, values: Sequence[str]) -> Predicate:
    return Or(tuple(Compare(intrinsic(name), "=", value) for value in values))
