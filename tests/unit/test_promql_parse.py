"""The trees of parsed PromQL, and its syntax errors, whose texts were compared with Prometheus' own."""

from __future__ import annotations

import math

import pytest

from tael.errors import Rejected
from tael.model.series import METRIC_NAME, Matcher
from tael.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Duration,
    Expr,
    Matching,
    MatrixSelector,
    Number,
    Paren,
    String,
    Subquery,
    Unary,
    VectorSelector,
    walk,
)
from tael.promql.check import type_of
from tael.promql.errors import ParseError
from tael.promql.parse import MAX_DEPTH, parse, parse_selector
from tael.promql.print import pretty, printed
from tael.promql.tree import document
from tael.syntax.position import Pos


def named(name: str, *matchers: Matcher, **modifiers: object) -> VectorSelector:
    return VectorSelector(name, (*matchers, Matcher(METRIC_NAME, "=", name)), **modifiers)  # type: ignore[arg-type]  # its fields


A, B = named("a"), named("b")
PARSED: dict[str, Expr] = {
    "1": Number(1.0),
    "-.5e3": Number(-500.0),
    "0x1F": Number(31.0),
    "017": Number(15.0),
    "1_000": Number(1000.0),
    "InF": Number(math.inf),
    "NaN": Number(math.nan),
    "1h30m": Number(5400.0, duration=True),
    r"'it\'s'": String("it's"),
    "`raw\\`": String("raw\\"),
    "a": A,
    "a:b:c": named("a:b:c"),
    "sum": named("sum"),
    "a{}": A,
    'a{x="1",}': named("a", Matcher("x", "=", "1")),
    'a{by=~"b.*", "c.d"!~"e"}': named("a", Matcher("by", "=~", "b.*"), Matcher("c.d", "!~", "e")),
    '{"m.n", x!="1"}': VectorSelector("", (Matcher(METRIC_NAME, "=", "m.n"), Matcher("x", "!=", "1"))),
    "a offset 5m @ 10.5": named("a", offset=300_000, at=10_500),
    "a @ end() offset -5": named("a", offset=-5_000, at="end"),
    "a anchored": named("a", anchored=True),
    "a[5m] smoothed offset 1m": MatrixSelector(named("a", offset=60_000, smoothed=True), 300_000),
    "a[90]": MatrixSelector(A, 90_000),
    "a[5m * 2]": MatrixSelector(A, Duration("*", Number(300.0, duration=True), Number(2.0))),
    "a[max_of(step(), 1m)]": MatrixSelector(A, Duration("max_of", Duration("step"), Number(60.0, duration=True))),
    "a offset -step() * 2": Binary("*", named("a", offset=Duration("-", None, Duration("step"))), Number(2.0)),
    "a[1h:]": Subquery(A, 3_600_000),
    "a[1h:1m] @ start() offset 5s": Subquery(A, 3_600_000, 60_000, 5_000, "start"),
    "rate(a[5m])[1h:1m]": Subquery(Call("rate", (MatrixSelector(A, 300_000),)), 3_600_000, 60_000),
    "-a ^ 2": Unary("-", Binary("^", A, Number(2.0))),
    "-a * 2": Binary("*", Unary("-", A), Number(2.0)),
    "1 + 2 * 3": Binary("+", Number(1.0), Binary("*", Number(2.0), Number(3.0))),
    "2 ^ 3 ^ 2": Binary("^", Number(2.0), Binary("^", Number(3.0), Number(2.0))),
    "(1)": Paren(Number(1.0)),
    "a AND b": Binary("and", A, B, Matching("many-to-many")),
    "a or b unless a": Binary("or", A, Binary("unless", B, A, Matching("many-to-many")), Matching("many-to-many")),
    "a == bool b": Binary("==", A, B, Matching(), return_bool=True),
    "a / on(x, y) group_left(z) b": Binary("/", A, B, Matching("many-to-one", on=True, labels=("x", "y"), include=("z",))),
    "a + ignoring(x) group_right b": Binary("+", A, B, Matching("one-to-many", labels=("x",))),
    "a + fill(0) b": Binary("+", A, B, Matching(fill_left=0.0, fill_right=0.0)),
    "a + on(x) fill_left(-1) b": Binary("+", A, B, Matching(on=True, labels=("x",), fill_left=-1.0)),
    "fill + fill": Binary("+", named("fill"), named("fill"), Matching()),
    "a </ 2": Binary("</", A, Number(2.0)),
    "sum(a)": Aggregate("sum", A),
    "SUM by (x, 'y z',) (a)": Aggregate("sum", A, grouping=("x", "y z")),
    "sum(a) without (by)": Aggregate("sum", A, grouping=("by",), without=True),
    "topk(3, a)": Aggregate("topk", A, Number(3.0)),
    "count_values('v', a)": Aggregate("count_values", A, String("v")),
    "time()": Call("time", ()),
    "step()": Call("step", ()),
    "max_of(1, 2)": Call("max_of", (Number(1.0), Number(2.0))),
    "info(a, {x=~'.*'})": Call("info", (A, VectorSelector("", (Matcher("x", "=~", ".*"),)))),
    "a # the rest\n# of it\n + b": Binary("+", A, B, Matching()),
}

REFUSED = {
    "": "unknown position: no expression found in input",
    "a b": '1:3: unexpected identifier "b"',
    "a +": "1:4: unexpected end of input",
    "a +\n *": "2:2: unexpected <op:*>",
    "(a": "1:3: unclosed left parenthesis",
    "a)": "1:3: unexpected right parenthesis ')'",
    "a]": "1:2: unexpected right bracket ']'",
    "a}": "1:2: unexpected character: '}'",
    "$": "1:1: unexpected character: '$'",
    "a =~ b": "1:3: unexpected character after '=': '~'",
    "a{": "1:3: unexpected end of input inside braces",
    "a{x}": '1:4: unexpected "}" in label matching, expected label matching operator',
    "a{x=}": '1:5: unexpected "}" in label matching, expected string',
    'a{x="1" y="2"}': '1:9: unexpected identifier "y" in label matching, expected "," or "}"',
    "a{,}": '1:3: unexpected "," in label matching, expected identifier or "}"',
    "a{x!1}": "1:4: unexpected character after '!' inside braces: '1'",
    "a{{": "1:3: unexpected left brace '{'",
    "a[": "1:3: unexpected end of input in duration expression",
    "a[5m": "1:5: unclosed left bracket",
    "a[x]": "1:3: unexpected character in duration expression: 'x'",
    "a[5m x]": "1:6: unexpected character: 'x', expected ':'",
    "a[:1m]": "1:3: unexpected colon before duration in duration expression",
    "a[5m:1m:]": "1:8: unexpected colon ':'",
    "a[5m 5m]": '1:6: unexpected duration "5m" in subquery or range, expected ":" or "]"',
    "a[0s]": "1:3: duration must be greater than 0",
    "a[1m / 0]": "1:6: division by zero",
    "a[300y]": "1:3: duration out of range",
    f"a[{'9' * 5000}s]": "1:3: duration out of range",
    "a[5hs]": '1:3: not a valid duration string: "5hs"',
    "1m[5m]": "1:3: ranges only allowed for vector selectors",
    "a offset 5m [5m]": "1:13: no offset modifiers allowed before range",
    "a @ 5 [5m]": "1:7: no @ modifiers allowed before range",
    "a offset": "1:9: unexpected end of input in offset, expected number, duration, step(), or range()",
    "a offset 1m offset 1m": "1:1: offset may not be set multiple times",
    "sum(a) offset 1m": "1:1: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    "a @": "1:4: unexpected end of input in @, expected timestamp",
    "a @ inf": "1:1: timestamp out of bounds for @ modifier: +Inf",
    "a @ 1 @ 2": "1:1: @ <timestamp> may not be set multiple times",
    "a[1m:] anchored": "1:1: anchored modifier is not supported for subqueries",
    "a anchored smoothed": "1:1: anchored and smoothed modifiers cannot be used together",
    '"a': "1:1: unterminated quoted string",
    "`a": "1:1: unterminated raw string",
    "1x": '1:1: bad number or duration syntax: "1"',
    "nope(a)": '1:1: unknown function with name "nope"',
    "abs(a,)": "1:6: trailing commas not allowed in function call args",
    "abs()": '1:1: expected 1 argument(s) in call to "abs", got 0',
    "round(a, 1, 2)": '1:1: expected at most 2 argument(s) in call to "round", got 3',
    "label_join(a)": '1:1: expected at least 3 argument(s) in call to "label_join", got 1',
    "rate(a)": '1:6: expected type range vector in call to function "rate", got instant vector',
    "sum()": "1:1: no arguments for aggregate expression provided",
    "sum(a, b)": "1:1: wrong number of arguments for aggregate expression provided, expected 1, got 2",
    "sum(a b)": '1:7: unexpected identifier "b" in aggregation',
    "sum by x (a)": '1:8: unexpected identifier "x" in grouping opts, expected "("',
    "sum by (1) (a)": '1:9: unexpected number "1" in grouping opts, expected label',
    "sum by (x y) (a)": '1:11: unexpected identifier "y" in grouping opts, expected "," or ")"',
    "sum(1)": "1:5: expected type instant vector in aggregation expression, got scalar",
    "topk('x', a)": "1:6: expected type scalar in aggregation parameter, got string",
    "1 == 1": "1:3: comparisons between scalars must use BOOL modifier",
    "a + bool b": "1:3: bool modifier can only be used on comparison operators",
    "1 and a": '1:1: set operator "and" not allowed in binary scalar expression',
    "a or on(x) group_left b": '1:1: no grouping allowed for "or" operation',
    "a or fill(0) b": "1:1: filling in missing series not allowed for set operators",
    "a + on(x) 1": "1:1: vector matching only allowed between instant vectors",
    "a + on(x) group_left(x) b": '1:3: label "x" must not occur in ON and GROUP clause at once',
    "a + 'x'": "1:5: binary expression must contain only scalar and instant vector types",
    "-'x'": '1:1: unary expression only allowed on expressions of type scalar or instant vector, got "string"',
    "1[5m:]": "1:1: subquery is only allowed on instant vector, got scalar instead",
    "{}": "1:1: vector selector must contain at least one non-empty matcher",
    '{"ü"} + "é\\q"': "1:10: unknown escape sequence U+0071 'q'",
    r"'\x1'": "1:1: illegal character U+0027 ''' in escape sequence",
    r"'\u12z4'": "1:1: illegal character U+007A 'z' in escape sequence",
    r"'\08'": "1:1: illegal character U+0038 '8' in escape sequence",
    "\ufeffx": r"1:1: unexpected character: '\ufeff'",
    "x['": r"1:3: unexpected character in duration expression: '\''",
    '{x!="1"}': "1:1: vector selector must contain at least one non-empty matcher",
    'a{__name__="b"}': '1:1: metric name must not be set twice: "a" or "b"',
    "info(a, b)": "1:9: expected label selectors only, got vector selector instead",
}


@pytest.mark.parametrize("query", PARSED)
def test_expressions_parse_to_their_trees(query: str) -> None:
    assert parse(query) == PARSED[query]


@pytest.mark.parametrize("query", REFUSED)
def test_errors_name_their_place(query: str) -> None:
    place, _, problem = REFUSED[query].partition(": ")
    with pytest.raises(ParseError) as refused:
        parse(query)
    assert str(refused.value) == f"{place}: parse error: {problem}"


def test_a_bad_regular_expression_is_reported_with_its_position() -> None:
    with pytest.raises(ParseError, match=r"^1:3: parse error: error parsing regexp: "):
        parse('a{x=~"["}')


def test_nodes_have_their_positions() -> None:
    query = "sum by (x) (rate(a[5m] offset 1m)) / 2"
    stand = [(type(node).__name__, query[node.pos.start : node.pos.end]) for node in walk(parse(query))]
    assert stand == [
        ("Binary", query),
        ("Aggregate", "sum by (x) (rate(a[5m] offset 1m))"),
        ("Call", "rate(a[5m] offset 1m)"),
        ("MatrixSelector", "a[5m] offset 1m"),
        ("VectorSelector", "a"),
        ("Number", "2"),
    ]
    assert parse(" (a)").pos == Pos(1, 4)


def test_depth_is_bounded() -> None:
    assert parse("+".join(["a"] * (MAX_DEPTH - 1)))
    for deep in ("(" * 200 + "1" + ")" * 200, "-" * 200 + "1", "+".join(["a"] * 200), "abs(" * 200 + "a" + ")" * 200):
        with pytest.raises(ParseError, match="nested deeper than"):
            parse(deep)


def test_a_selector_alone_is_read_as_matchers() -> None:
    assert parse_selector('a{x="1"}') == (Matcher("x", "=", "1"), Matcher(METRIC_NAME, "=", "a"))
    for wrong in ("a + b", "rate(a[5m])", "1", "a[5m]"):
        with pytest.raises(ParseError):
            parse_selector(wrong)
    for everything in ("{}", '{a=~".*"}', '{a!="b"}'):
        with pytest.raises(Rejected, match=r"^match\[\] must contain at least one non-empty matcher$"):
            parse_selector(everything)


@pytest.mark.parametrize(
    ("query", "kind"), [("1 + 1", "scalar"), ("a + 1", "vector"), ("(a[5m])", "matrix"), ("'x'", "string"), ("-time()", "scalar")]
)
def test_types_follow_from_parts(query: str, kind: str) -> None:
    assert type_of(parse(query)) == kind


def test_long_expressions_are_broken_into_lines() -> None:
    matcher = 'handler="/api/v1/query_range", method="GET", code=~"5..", instance="10.0.0.1:9090"'
    query = f"topk(5, sum by (job) (rate(requests_total{{{matcher}}}[5m])) / on (job) group_left () (a + b))"
    assert pretty(parse(query)) == (
        "topk(\n"
        "  5,\n"
        "    sum by (job) (\n"
        "      rate(\n"
        '        requests_total{code=~"5..",handler="/api/v1/query_range",instance="10.0.0.1:9090",method="GET"}[5m]\n'
        "      )\n"
        "    )\n"
        "  / on (job) group_left ()\n"
        "    (a + b)\n"
        ")"
    )
    assert pretty(parse("a+b")) == "a + b"


def test_every_kind_of_node_has_json() -> None:
    query = "-sum without (x) (a{y='1'} @ end()) + (max_over_time(b[5m:1m] offset 1m)) * 2 > label_join(c, 'd', 'e', 'f') and d[1m] @ 3"
    with pytest.raises(ParseError):
        parse(query)
    tree = document(parse(query.removesuffix(" and d[1m] @ 3") + " and sum_over_time(d[1m] @ 3)"))
    assert tree["matching"]["card"] == "many-to-many"
    assert tree["rhs"]["args"][0]["timestamp"] == 3000
    assert printed(parse("a @ 3")) == "a @ 3.000"
