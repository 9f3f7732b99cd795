"""``| json label="path"`` takes the same from a decoded line as from its text, for generated lines and paths."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tael.logql.stages.json_parser import _document, text_at
from tael.logql.stages.json_path import Path

KEYS = st.sampled_from(["a", "b", "é", "a b", ""])
SCALARS = st.sampled_from(["1", "-1.50e3", "true", "null", '"x"', '"Grü"', '"\\u00e9\\ud800"', '"a\\"b"', "{}", "[]", '"\ufffd"'])


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{ " + " , ".join(f"{json.dumps(key, ensure_ascii=key == 'é')} : {value}" for key, value in pairs) + "}"


def _values(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.lists(inner, max_size=3).map(lambda values: "[" + ", ".join(values) + " ]")
    return arrays | st.lists(st.tuples(KEYS, inner), max_size=3).map(_object)


OBJECTS = st.lists(st.tuples(KEYS, st.recursive(SCALARS, _values, max_leaves=6)), max_size=3).map(_object)
LINES = st.builds(lambda text, end: text + end, OBJECTS, st.sampled_from(["", " ", " x", "}"]))
PATHS: Any = st.lists(KEYS | st.integers(0, 2), min_size=1, max_size=3).map(tuple)


@settings(max_examples=1000, deadline=None)
@given(LINES, PATHS)
def test_decoded_and_written_agree(line: str, path: Path) -> None:
    document = _document(line)
    assert document is not None
    assert text_at(line, document, path) == text_at(line, None, path)
