"""Runs PromQL queries: parse, decide what is needed, fetch it from the shards, evaluate in a thread."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from services.query.budget import Budget
from services.query.promql.fetch import fetch
from services.query.threads import in_thread
from tael.errors import Rejected
from tael.promql import evaluate as evaluation
from tael.promql.ast import Expr
from tael.promql.check import type_of
from tael.promql.evaluate import Evaluated, Settings
from tael.promql.features import ALL, Features
from tael.promql.fetched import Fetched
from tael.promql.needs import Options, needs
from tael.promql.parse import parse
from tael.promql.prepare import prepare
from tael.storage.api import SeriesReader
from tael.vectors.values import Steps

_WORDS = {"string": "string", "matrix": "range vector"}


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and its steps; an instant query has one step of length 0. ``lookback_ms`` overrides the engine's."""

    text: str
    steps: Steps
    lookback_ms: int | None = None

    @property
    def instant(self) -> bool:
        """Whether it is an instant query."""
        return self.steps.step_ms == 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A query's answer; ``missing`` names the shards that did not contribute, ``samples`` counts those that were read."""

    expr: Expr
    evaluated: Evaluated
    missing: tuple[str, ...]
    samples: int


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How queries are parsed and limited. ``max_samples`` limits what one query fetches, and each intermediate result.

    ``max_series`` limits each selector, and lists of series, label names and label values.
    """

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000
    max_samples: int = 50_000_000
    max_series: int = 500_000
    push: bool = True
    features: Features = field(default=ALL)


class PromqlEngine:
    """Runs queries over one SeriesReader; keeps no state between them."""

    def __init__(self, reader: SeriesReader, options: EngineOptions) -> None:
        self.reader = reader
        self.options = options

    def parse(self, text: str, *, instant: bool = True) -> Expr:
        """The tree of an expression. Raises ParseError, or Rejected for a range query of a string or range vector."""
        expr = parse(text, self.options.features)
        kind = type_of(expr)
        if not instant and kind in _WORDS:
            raise Rejected(f'invalid expression type "{_WORDS[kind]}" for range query, must be Scalar or instant Vector')
        return expr

    async def run(self, tenant: str, query: Query, expr: Expr) -> Outcome:
        """The value of ``expr``, the tree of ``query``.

        Raises Rejected with Prometheus' message where the data does not allow the operation, TooLarge beyond the limits, and what the
        reader raises. When the caller is cancelled or gives up, the evaluation ends at its next node.
        """
        lookback = self.options.lookback_ms if query.lookback_ms is None else query.lookback_ms
        options = Options(lookback, self.options.subquery_step_ms, self.options.push)
        prepared = prepare(query.text, expr, query.steps)
        budget = Budget(self.options.max_samples, self.options.max_series)
        wanted = needs(prepared, query.steps, options)
        answer = await fetch(self.reader, tenant, wanted, budget)
        if any(samples.rollups for samples in answer.value.samples.values()):
            # As samples, rollups have only their last values. The shards evaluate functions from everything a rollup holds, so they are
            # asked to, however short the steps.
            pushed = needs(prepared, query.steps, replace(options, push_from_ms=0))
            # With a fresh budget: the first answer is dropped.
            if pushed.grids != wanted.grids:
                answer = await fetch(self.reader, tenant, pushed, Budget(self.options.max_samples, self.options.max_series))
        settings = Settings(lookback, self.options.subquery_step_ms, self.options.max_samples)
        evaluated = await in_thread(
            lambda check: evaluation.evaluate(prepared, query.steps, answer.value, replace(settings, check=check), query.text)
        )
        return Outcome(expr, evaluated, answer.missing, _count(answer.value))


def _count(fetched: Fetched) -> int:
    samples = sum(len(samples.times_ms) for samples in (*fetched.samples.values(), *fetched.info.values()))
    return samples + sum(int(grid.present.sum()) for grid in fetched.grids.values())
