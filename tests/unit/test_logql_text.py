"""Texts of lines and templates are always valid in an answer."""

from __future__ import annotations

import pytest

from tael.logql.row import Row
from tael.logql.stages.json_parser import json_paths, parse_json
from tael.logql.template import Template


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        (r'{"a": "\ud800x"}', {"a": " x"}),
        (r'{"a": "\ud83d\ude00"}', {"a": "😀"}),
        ('{"a": "\ufffd"}', {"a": " "}),
        ('{"a": "\\\\n\ufffd"}', {"a": "\\n "}),
    ],
)
def test_a_json_line_makes_labels_of_characters(line: str, labels: dict[str, str]) -> None:
    """Half of a surrogate pair becomes a space, as in Loki; text is never unescaped twice."""
    row = Row(0, line, {}, {})
    assert parse_json(row)
    assert row.labels() == labels


@pytest.mark.parametrize("depth", [2_000, 100_000])
@pytest.mark.parametrize("end", ["", "!"])
def test_a_line_nested_too_deeply_fails_alone(depth: int, end: str) -> None:
    """It is marked with an error; the query goes on."""
    line = '{"a":' * depth + "1" + "}" * depth + end
    row = Row(0, line, {}, {})
    assert parse_json(row)
    assert (row.error, row.details) == ("JSONParserErr", "Value is nested too deeply")
    assert json_paths(line) == {}


def test_a_malformed_line_is_read_to_a_certain_depth() -> None:
    """What precedes the deep part is kept."""
    row = Row(0, '{"a": "x", "b": ' + '{"c":' * 100 + "1" + "}" * 100 + " no JSON", {}, {})
    assert parse_json(row)
    assert (row.labels()["a"], row.details) == ("x", "Value is nested too deeply")


def test_the_paths_of_a_json_line_are_of_characters() -> None:
    """A key may spell characters that UTF-8 does not have."""
    assert json_paths(r'{"a": {"\ud800": "x"}}') == {"a__": ["a", " "]}


@pytest.mark.parametrize("template", ['{{ printf "%c" 55296 }}', "{{ (fromJson .line).a }}"])
def test_a_template_makes_characters(template: str) -> None:
    """They become U+FFFD, as in Go's strings."""
    assert Template("line", template, 0).execute({"line": r'{"a": "\udfff"}'}, "", 0) == "\ufffd"
