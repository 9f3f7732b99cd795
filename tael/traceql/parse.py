"""The parser of TraceQL: queries, spansets, scalars and metrics, by precedence climbing.

Precedences follow Tempo's grammar: ``&&`` and ``||`` (one level, from the left) are weaker than structural operators. Expressions over one
span are those of parse_expressions.py.
"""

from __future__ import annotations

from typing import Final

from tael.traceql.ast import (
    Aggregate,
    Coalesce,
    Compare,
    Filter,
    GroupBy,
    MetricsAggregate,
    MetricsFilter,
    Named,
    Pipeline,
    Query,
    Scalar,
    ScalarFilter,
    ScalarOperation,
    SecondStage,
    Select,
    SpansetOperation,
    Spansets,
    Stage,
    Static,
    TopK,
    Type,
)
from tael.traceql.check import check
from tael.traceql.errors import ParseError, WrongPart
from tael.traceql.parse_expressions import COMPARISONS, FIELD_LEVELS, ExpressionParser

_SPANSET_LEVELS: Final = {
    **dict.fromkeys(("&&", "||"), 1),
    **dict.fromkeys((">", "<", ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "!~", "&>", "&<", "&>>", "&<<", "&~"), 2),
}
_AGGREGATES: Final = ("count", "min", "max", "avg", "sum")
_METRICS: Final = (
    *("rate", "count_over_time", "min_over_time", "max_over_time", "avg_over_time", "sum_over_time"),
    *("quantile_over_time", "histogram_over_time", "compare"),
)


def parse(query: str) -> Query:
    """The checked tree of a query. Raises ParseError, TypeMismatch or Unsupported."""
    parser = _Parser(query)
    found = parser.query()
    try:
        check(found)
    except WrongPart as error:
        raise parser.placed(error) from None
    return found


def parse_field(text: str) -> Named:
    """A lone attribute or intrinsic, as in ``/tag/{tag}/values``. Raises ParseError."""
    parser = ExpressionParser(text)
    found = parser.named()
    parser.expect("end")
    return found


class _Parser(ExpressionParser):
    # Queries

    def query(self) -> Query:
        """Parse a query up to the end of the text."""
        pipeline = self._pipeline()
        metrics: MetricsAggregate | Compare | None = None
        second: tuple[SecondStage, ...] = ()
        if isinstance(pipeline.stages[-1], Aggregate):
            self._fail("a comparison after an aggregate")
        if self._takes("|"):
            at = self._token.at
            metrics = self._began(self._metrics(), at)
            second = tuple(self._second_stages())
        hints = self._hints()
        self.expect("end", "|, with, or the end of the query")
        return Query(pipeline, metrics, second, hints)

    def _pipeline(self) -> Pipeline:
        """Stages up to a metrics function, a closing bracket or the end; a pipeline that ends in an aggregate is a scalar."""
        stages: list[Stage] = [self._first_stage()]
        while self._token.kind == "|" and not self._metrics_follow():
            self._take()
            stages.append(self._stage())
        return Pipeline(tuple(stages))

    def _metrics_follow(self) -> bool:
        after = self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        return after.kind == "word" and after.text in _METRICS

    def _first_stage(self) -> Stage:
        if self._is_word("coalesce"):
            self._fail("{ or (")
        return self._stage()

    def _stage(self) -> Stage:
        at = self._token.at
        return self._began(self._any_stage(), at)

    def _any_stage(self) -> Stage:
        if self._is_word("by"):
            return self._group_by()
        if self._is_word("coalesce"):
            self._take()
            self._empty_brackets()
            return Coalesce()
        if self._is_word("select"):
            self._take()
            return Select(self._fields())
        if self._is_word(*_AGGREGATES) or self._token.kind in ("int", "float", "duration", "-"):
            return self._scalar_filter(self._scalar(0))
        if self._token.kind not in ("{", "("):
            self._fail("{, (, or a pipeline function")
        return self._spansets_or_scalar()

    def _spansets_or_scalar(self) -> Stage:
        """``{ }`` with operators, or ``({ } | count()) > 10``: which one is known only after the closing bracket."""
        found = self._spansets(0)
        if not isinstance(found, Pipeline) or not _is_scalar(found):
            return found
        return self._scalar_filter(self._scalar_tail(found, 0))

    def _group_by(self) -> GroupBy:
        self._take()
        self.expect("(")
        found = GroupBy(self._field(0))
        self.expect(")")
        return found

    def _empty_brackets(self) -> None:
        self.expect("(")
        self.expect(")")

    # Spansets

    def _spansets(self, level: int) -> Spansets:
        bare = self._token.kind == "{"
        left = self._nested(self._spanset_primary)
        while (own := _SPANSET_LEVELS.get(self._token.kind, 0)) > level and not _is_scalar(left):
            op = self._take().kind
            if self._token.kind not in ("{", "("):
                self._fail("{ or (")
            at = self._token
            right = self._spansets(own)
            if _is_scalar(right):
                self._fail("a comparison after an aggregate")
            if (bare and _has_pipeline(right)) or (at.kind == "{" and _has_pipeline(left)):
                raise ParseError(
                    self._query, at.at, "a pipeline in brackets is combined with others in brackets alone, such as ({ } | count() > 1)"
                )
            bare = bare or at.kind == "{"
            left = SpansetOperation(op, left, right)
        return left

    def _spanset_primary(self) -> Spansets:
        if self._token.kind == "{":
            return self._filter()
        self.expect("(", "{ or (")
        inner = self._pipeline()
        self.expect(")")
        only = inner.stages[0]
        return only if len(inner.stages) == 1 and isinstance(only, Filter | SpansetOperation | Pipeline) else inner

    def _filter(self) -> Filter:
        at = self.expect("{").at
        if self._takes("}"):
            return Filter(Static(Type.BOOL, value=True))
        found = self._began(Filter(self._field(0)), at)
        self.expect("}", "} or an operator")
        return found

    # Scalars

    def _scalar_filter(self, left: Scalar) -> Stage:
        if self._token.kind not in COMPARISONS:
            if isinstance(left, Aggregate) and self._token.kind == ")":
                return left
            self._fail("a comparison")
        op = self._take().kind
        return ScalarFilter(op, left, self._scalar(0))

    def _scalar(self, level: int) -> Scalar:
        return self._scalar_tail(self._nested(self._scalar_primary), level)

    def _scalar_tail(self, left: Scalar, level: int) -> Scalar:
        while self._token.kind in ("+", "-", "*", "/", "%", "^") and (own := FIELD_LEVELS[self._token.kind]) > level:
            op = self._take().kind
            left = ScalarOperation(op, left, self._scalar(own - 1 if op == "^" else own))
        return left

    def _scalar_primary(self) -> Scalar:
        if self._takes("-"):
            static = self._scalar_primary()
            if isinstance(static, Static) and isinstance(static.value, int | float):
                return Static(static.type, -static.value)
            self._fail("a number")
        if self._token.kind in ("int", "float", "duration"):
            return self._number()
        if self._is_word(*_AGGREGATES):
            return self._aggregate()
        self.expect("(", "a number or an aggregate")
        if self._token.kind in ("{", "("):
            found: Scalar = self._pipeline()
        else:
            found = self._scalar(0)
        self.expect(")")
        return found

    def _aggregate(self) -> Aggregate:
        token = self._take()
        self.expect("(")
        expression = None if token.text == "count" else self._field(0)
        self.expect(")")
        return self._began(Aggregate(token.text, expression), token.at)

    # Metrics

    def _metrics(self) -> MetricsAggregate | Compare:
        op = self._take().text
        if op == "compare":
            return self._compare()
        self.expect("(")
        of: Named | None = None
        quantiles: list[float] = []
        if op not in ("rate", "count_over_time"):
            of = self.named()
        while op == "quantile_over_time" and (self._token.kind == "," or not quantiles):
            self.expect(",")
            quantiles.append(self._quantile())
        self.expect(")")
        by: tuple[Named, ...] = ()
        if self._is_word("by"):
            self._take()
            by = self._fields()
        return MetricsAggregate(op, of, by, tuple(quantiles))

    def _quantile(self) -> float:
        if self._token.kind not in ("int", "float"):
            self._fail("a number")
        return float(self._take().value)

    def _compare(self) -> Compare:
        self.expect("(")
        selection = self._filter()
        numbers: list[int] = []
        while self._takes(","):
            numbers.append(int(self.expect("int", "a whole number").value))
        if len(numbers) not in (0, 1, 3):
            self._fail(", and a start and an end in nanoseconds")
        self.expect(")")
        return Compare(selection, *numbers)

    def _second_stages(self) -> list[SecondStage]:
        found: list[SecondStage] = []
        while True:
            if self._token.kind in COMPARISONS:
                found.append(MetricsFilter(self._take().kind, self._signed_number()))
            elif self._token.kind == "|":
                self._take()
                if not self._is_word("topk", "bottomk"):
                    self._fail("topk or bottomk")
                op = self._take().text
                self.expect("(")
                if self._token.kind != "int" or not self._token.value:
                    self._fail("a whole number above 0")
                found.append(TopK(op, int(self._take().value)))
                self.expect(")")
            else:
                return found

    def _signed_number(self) -> float:
        sign = -1 if self._takes("-") else 1
        if self._token.kind not in ("int", "float", "duration"):
            self._fail("a number")
        token = self._take()
        # Series of durations are in seconds.
        return sign * float(token.value) / (1e9 if token.kind == "duration" else 1)

    def _hints(self) -> dict[str, Static]:
        found: dict[str, Static] = {}
        while self._is_word("with"):
            self._take()
            self.expect("(")
            while True:
                name = self.expect("word", "the name of a hint").text
                self.expect("=")
                if self._is_word("nil"):
                    self._fail("a value")
                found[name] = self._static()
                if not self._takes(","):
                    break
            self.expect(")")
        return found


def _has_pipeline(found: Spansets) -> bool:
    return isinstance(found, Pipeline) or (
        isinstance(found, SpansetOperation) and (_has_pipeline(found.left) or _has_pipeline(found.right))
    )


def _is_scalar(found: Spansets) -> bool:
    return isinstance(found, Pipeline) and isinstance(found.stages[-1], Aggregate)
