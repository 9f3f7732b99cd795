"""Type checks of a parsed expression, in Prometheus' order and with its messages."""

from __future__ import annotations

from tael.model.series import METRIC_NAME
from tael.promql.aggregators import AGGREGATORS
from tael.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    Number,
    Paren,
    StepInvariant,
    String,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from tael.promql.errors import ParseError
from tael.promql.functions import FUNCTIONS
from tael.syntax.literals import quoted
from tael.syntax.position import Pos
from tael.vectors.binary import COMPARISON, SETS

_WORDS = {"vector": "instant vector", "matrix": "range vector", "scalar": "scalar", "string": "string"}


def type_of(expr: Expr) -> ValueType:  # noqa: PLR0911 - one line a kind of node
    """The type of an expression's value."""
    match expr:
        case Number():
            return "scalar"
        case String():
            return "string"
        case VectorSelector() | Aggregate():
            return "vector"
        case MatrixSelector() | Subquery():
            return "matrix"
        case Call(function=name):
            return FUNCTIONS[name].returns
        case Binary(left=left, right=right):
            return "scalar" if type_of(left) == type_of(right) == "scalar" else "vector"
        case Unary(expr=inner) | Paren(expr=inner) | StepInvariant(expr=inner):
            return type_of(inner)


def check(query: str, expr: Expr) -> None:
    """Raise ParseError at the first part of ``expr``, the tree of ``query``, that has the wrong type."""
    _Check(query).visit(expr)


class _Check:
    def __init__(self, query: str) -> None:
        self._query = query

    def visit(self, expr: Expr) -> ValueType:
        match expr:
            case Aggregate():
                self._aggregate(expr)
            case Binary():
                self._binary(expr)
            case Call():
                self._call(expr)
            case Unary():
                self._unary(expr)
            case Subquery():
                self._subquery(expr)
            case MatrixSelector(selector=selector):
                self._selector(selector)
            case VectorSelector():
                self._selector(expr)
            case Paren(expr=inner):
                self.visit(inner)
            case _:
                pass
        return type_of(expr)

    def _unary(self, expr: Unary) -> None:
        if (kind := self.visit(expr.expr)) not in ("scalar", "vector"):
            wanted = "unary expression only allowed on expressions of type scalar or instant vector"
            raise self._error(expr.pos, f"{wanted}, got {quoted(_WORDS[kind])}")

    def _subquery(self, expr: Subquery) -> None:
        if (kind := self.visit(expr.expr)) != "vector":
            raise self._error(expr.pos, f"subquery is only allowed on instant vector, got {kind} instead")

    def _error(self, pos: Pos, problem: str) -> ParseError:
        return ParseError(self._query, pos, problem)

    def _expect(self, expr: Expr, wanted: ValueType, context: str) -> None:
        if (kind := self.visit(expr)) != wanted:
            raise self._error(expr.pos, f"expected type {_WORDS[wanted]} in {context}, got {_WORDS[kind]}")

    def _aggregate(self, expr: Aggregate) -> None:
        self._expect(expr.expr, "vector", "aggregation expression")
        if expr.param is not None:
            self._expect(expr.param, AGGREGATORS[expr.op].parameter or "scalar", "aggregation parameter")

    def _binary(self, expr: Binary) -> None:
        left, right = self.visit(expr.left), self.visit(expr.right)
        at = self._operator(expr)
        if expr.return_bool and expr.op not in COMPARISON:
            raise self._error(at, "bool modifier can only be used on comparison operators")
        if expr.op in COMPARISON and not expr.return_bool and left == right == "scalar":
            raise self._error(at, "comparisons between scalars must use BOOL modifier")
        matching = expr.matching or Matching()
        if matching.on and (twice := [name for name in matching.labels if name in matching.include]):
            raise self._error(at, f"label {quoted(twice[0])} must not occur in ON and GROUP clause at once")
        for side, kind in ((expr.left, left), (expr.right, right)):
            if kind not in ("scalar", "vector"):
                raise self._error(side.pos, "binary expression must contain only scalar and instant vector types")
        self._matching(expr, matching, vectors=left == right == "vector")

    def _matching(self, expr: Binary, matching: Matching, *, vectors: bool) -> None:
        filled = matching.fill_left is not None or matching.fill_right is not None
        if not vectors:
            if matching.labels:
                raise self._error(expr.pos, "vector matching only allowed between instant vectors")
            if filled:
                raise self._error(expr.pos, "filling in missing series only allowed between instant vectors")
            if expr.op in SETS:
                raise self._error(expr.pos, f"set operator {quoted(expr.op)} not allowed in binary scalar expression")
        elif expr.op in SETS:
            if matching.card in ("many-to-one", "one-to-many"):
                raise self._error(expr.pos, f"no grouping allowed for {quoted(expr.op)} operation")
            if filled:
                raise self._error(expr.pos, "filling in missing series not allowed for set operators")

    def _operator(self, expr: Binary) -> Pos:
        start, end = expr.left.pos.end, expr.right.pos.start
        between = self._query[start:end]
        return Pos(start + len(between) - len(between.lstrip()), end)

    def _call(self, call: Call) -> None:
        function = FUNCTIONS[call.function]
        self._count(call, len(function.arguments), function.variadic)
        if function.name == "info" and len(call.args) > 1:
            self._info(call)
        for index, arg in enumerate(call.args):
            wanted = function.arguments[min(index, len(function.arguments) - 1)]
            # Only the matchers of this selector are read, so {} may match everything here; visiting it would refuse that.
            if function.name == "info" and index == 1:
                continue
            if (kind := self.visit(arg)) != wanted:
                context = f"call to function {quoted(function.name)}"
                raise self._error(arg.pos, f"expected type {_WORDS[wanted]} in {context}, got {_WORDS[kind]}")

    def _count(self, call: Call, named: int, variadic: int) -> None:
        given, what = len(call.args), f"argument(s) in call to {quoted(call.function)}, got {len(call.args)}"
        if not variadic and given != named:
            raise self._error(call.pos, f"expected {named} {what}")
        if variadic and given < named - 1:
            raise self._error(call.pos, f"expected at least {named - 1} {what}")
        if variadic > 0 and given > named - 1 + variadic:
            raise self._error(call.pos, f"expected at most {named - 1 + variadic} {what}")

    def _info(self, call: Call) -> None:
        chosen = call.args[1]
        if (kind := type_of(chosen)) != "vector":
            raise self._error(call.pos, f'expected type instant vector in call to function "info", got {_WORDS[kind]}')
        if not isinstance(chosen, VectorSelector):
            raise self._error(chosen.pos, "expected label selectors only")
        if chosen.name:
            raise self._error(chosen.pos, "expected label selectors only, got vector selector instead")

    def _selector(self, selector: VectorSelector) -> None:
        if selector.name:
            # The parser appends the matcher of the name itself as the last one.
            for matcher in selector.matchers[:-1]:
                if matcher.name == METRIC_NAME:
                    twice = f"{quoted(selector.name)} or {quoted(matcher.value)}"
                    raise self._error(selector.pos, f"metric name must not be set twice: {twice}")
        elif all(matcher.matches("") for matcher in selector.matchers):
            raise self._error(selector.pos, "vector selector must contain at least one non-empty matcher")
