"""What lines spell and templates make is text that an answer can hold."""

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
    """Half of a surrogate pair is a space, as in Loki; and what was unescaped once is not unescaped again."""
    row = Row(0, line, {}, {})
    assert parse_json(row)
    assert row.labels() == labels


def test_the_paths_of_a_json_line_are_of_characters() -> None:
    """A key may spell what no UTF-8 has."""
    assert json_paths(r'{"a": {"\ud800": "x"}}') == {"a__": ["a", " "]}


@pytest.mark.parametrize("template", ['{{ printf "%c" 55296 }}', "{{ (fromJson .line).a }}"])
def test_a_template_makes_characters(template: str) -> None:
    """Go's strings of it have U+FFFD."""
    assert Template("line", template, 0).execute({"line": r'{"a": "\udfff"}'}, "", 0) == "\ufffd"
