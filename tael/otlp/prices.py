"""The cost of an LLM call by its model's list prices, from ``prices.toml`` and a file that overrides it. Pure, except for reading the
files.

ClickHouse computes the same if a query needs it (tael/storage/clickhouse/prices.py).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tael.errors import Rejected
from tael.model.span import LlmCall, Span
from tael.model.time import NS_PER_SECOND, signed_ns

PRICED_OPERATIONS: Final = ("chat", "completion", "embedding")
"""The operations that call a model. The tokens of an agent, a workflow or a chain are the sum of its calls'."""
TOKENS_PER_PRICE: Final = 1e6


class _Price(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...]
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)
    since: date | None = Field(default=None, alias="from")


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    strip_front: str = ""
    strip_back: str = ""
    prices: tuple[_Price, ...]


@dataclass(frozen=True, slots=True)
class Price:
    """USD for a million tokens of each kind."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def cost_usd(self, call: LlmCall) -> float:
        """The cost of a call's tokens; counts that it does not report are zero."""
        read, written = call.cache_read_tokens or 0, call.cache_write_tokens or 0
        # Input tokens include cached ones (OpenTelemetry's gen_ai conventions). Instrumentation that counts
        # them separately would come out below zero, hence the max.
        plain = max(0, (call.input_tokens or 0) - read - written)
        whole = plain * self.input + read * self.cache_read + written * self.cache_write + (call.output_tokens or 0) * self.output
        return whole / TOKENS_PER_PRICE


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model, in lower case. ``periods`` holds the time (ns) from which each table applies, latest first."""

    strip_front: str
    strip_back: str
    periods: Sequence[tuple[int, Mapping[str, Price]]]

    def computed_usd(self, call: LlmCall, start_ns: int) -> float | None:
        """The computed cost of a call; None if it reports a cost, does not call a model, or has no tokens or no known price."""
        if call.cost_usd is not None or call.operation not in PRICED_OPERATIONS or call.input_tokens is call.output_tokens is None:
            return None
        # The model that responded is billed; the requested one may be an alias.
        price = self.price(call.response_model, start_ns) or self.price(call.model, start_ns)
        return None if price is None else price.cost_usd(call)

    def price(self, model: str, start_ns: int) -> Price | None:
        """The price of a model at a time."""
        name = re.sub(self.strip_front, "", model.lower(), count=1)
        table = next((table for since, table in self.periods if since <= start_ns), self.periods[-1][1])
        return table.get(name) or table.get(re.sub(self.strip_back, "", name, count=1))


def with_cost(span: Span, prices: Prices) -> Span:
    """The span with the computed cost of its call; the same span if there is none."""
    cost = None if span.llm is None else prices.computed_usd(span.llm, signed_ns(span.start_ns))
    return span if cost is None or span.llm is None else replace(span, llm=replace(span.llm, computed_cost_usd=cost))


def read_prices(path: Path | None = None) -> Prices:
    """The prices of this version, overridden by those in the file at ``path``. Raises Rejected for a malformed file, OSError."""
    packaged = _packaged()
    own = [] if path is None else [_parse(path.read_text(), str(path))]
    entries = [price for file in (packaged, *own) for price in file.prices]
    starts = sorted({0, *(_ns(price.since) for price in entries)}, reverse=True)
    return Prices(packaged.strip_front, packaged.strip_back, [(start, _table(entries, start)) for start in starts])


@cache
def _packaged() -> _File:
    return _parse((resources.files("tael.otlp") / "prices.toml").read_text(), "prices.toml")


def _parse(text: str, name: str) -> _File:
    try:
        return _File.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise Rejected(f"{name} is not a valid price table: {error}", where=name, accepted="the form of tael/otlp/prices.toml") from error


def _table(entries: Sequence[_Price], start_ns: int) -> dict[str, Price]:
    """The prices that apply at a time: for each model the entry with the latest start, the last one of several with the same start."""
    holding = sorted((entry for entry in entries if _ns(entry.since) <= start_ns), key=lambda entry: _ns(entry.since))
    return {model.lower(): _price(entry) for entry in holding for model in entry.models}


def _price(entry: _Price) -> Price:
    read = entry.input if entry.cache_read is None else entry.cache_read
    return Price(entry.input, entry.output, read, entry.input if entry.cache_write is None else entry.cache_write)


def _ns(day: date | None) -> int:
    return 0 if day is None else int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_SECOND
