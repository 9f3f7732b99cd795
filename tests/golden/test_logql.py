"""LogQL by data files: what parses and how it is printed, what is refused and with which words, and what queries answer over known
lines.
"""

from __future__ import annotations

import json

import pytest

from tael.errors import Rejected
from tael.logql.parse import parse
from tael.logql.print import printed
from tests.support.logql_cases import EVALUATED, answer, pairs


@pytest.mark.parametrize(("query", "expected"), pairs("valid.txt"))
def test_a_valid_query_parses_and_is_printed_as_text_that_means_the_same(query: str, expected: str) -> None:
    expr = parse(query.strip())
    assert printed(expr) == expected.strip()
    assert parse(printed(expr)) == expr


@pytest.mark.parametrize(("query", "message"), pairs("refused.txt"))
def test_a_bad_query_is_refused_with_its_place_and_what_was_expected(query: str, message: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse(query)
    assert str(refused.value) == message


@pytest.mark.parametrize("query", EVALUATED)
def test_a_query_answers_what_the_file_says(query: str) -> None:
    assert json.loads(json.dumps(answer(query))) == EVALUATED[query]
