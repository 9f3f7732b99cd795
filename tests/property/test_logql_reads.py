"""Metadata that a metric query cannot tell apart (tael/logql/reads.py) makes no difference to its samples, for generated records and
queries.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tael.logql.evaluate import leaves
from tael.logql.parse import parse
from tael.logql.reads import labels_told_apart
from tael.logql.records import Entry
from tael.logql.samples import AllLabelsNeeded, Bounds, Extraction

NAMES = ["a", "b", "c", "a_extracted", "service_name", "detected_level", "v"]
LINES = [
    '{"a": "1", "b": "x", "v": 2}',
    '{"c": {"a": 1}, "v": "oops"}',
    "a=1 b=x v=3",
    "a=1 a_extracted=2 c=",
    "x y 5",
    "{",
    '{"service_name": "s"}',
    "",
]
METADATA = st.dictionaries(st.sampled_from([*NAMES, "other", "trace_id"]), st.sampled_from(["1", "x", "5"]), max_size=4)
ENTRIES = st.lists(
    st.builds(lambda line, metadata: (line, metadata), st.sampled_from(LINES), METADATA), min_size=1, max_size=4
)  # fmt: skip
NAME = st.sampled_from(NAMES)
STAGES = st.one_of(
    st.sampled_from(["| json", "| logfmt", '| json a="b", c', '| logfmt a="b", c', '| pattern "<a> <b>"', '| regexp "(?P<a>.)(?P<c>.*)"', "| unpack", "| drop __error__"]),
    st.builds(lambda name: f"| drop {name}", NAME),
    st.builds(lambda name, other: f'| keep {name}, {other}="1"', NAME, NAME),
    st.builds(lambda name, other: f"| label_format {name}={other}", NAME, NAME).filter(lambda text: text.split()[-1].split("=")[0] != text.split("=")[1]),
    st.builds(lambda name, other: f'| label_format {name}="{{{{.{other}}}}}-"', NAME, NAME),
    st.builds(lambda name: f'| line_format "{{{{.{name}}}}} b=2"', NAME),
    st.sampled_from(['| line_format "{{.}}"', '| line_format "{{range $k, $v := .}}{{$k}}={{$v}} {{end}}"', '| label_format a="{{ . }}"']),
    st.builds(lambda name, op, value: f'| {name}{op}"{value}"', NAME, st.sampled_from(["=", "!=", "=~"]), st.sampled_from(["1", "x", "", ".*"])),
    st.builds(lambda name: f"| {name} > 1", NAME),
    st.just('| __error__=""'),
)  # fmt: skip
QUERIES = st.builds(
    lambda stages, by, form: form.format(" ".join(['{service_name="shop"}', *stages]), ", ".join(by)),
    st.lists(STAGES, max_size=3),
    st.lists(NAME, max_size=2, unique=True),
    st.sampled_from(
        [
            "sum by ({1}) (count_over_time({0} [1m]))", "sum(bytes_over_time({0} [1m]))", "max_over_time({0} | unwrap v [1m]) by ({1})", "absent_over_time({0} [1m])",
            "count_over_time({0} [1m])", "sum without ({1}) (rate({0} [1m]))", 'sum by ({1}) (sum_over_time({0} | unwrap v | __error__="" [1m]))',
        ]
    ),
)  # fmt: skip
MANY = int(os.environ.get("TAEL_TEST_PREDICATES", "500"))


def samples(leaf: Any, entries: list[tuple[str, dict[str, str]]], names: Collection[str] | None) -> Any:
    """The samples of lines that have only metadata of these names."""
    extraction = Extraction(leaf, Bounds(), names)
    for place, (line, metadata) in enumerate(entries):
        kept = {name: value for name, value in metadata.items() if names is None or name in names}
        extraction.add([Entry(place, line, {"service_name": "shop"}, kept).row(extraction.hints)])
    found = extraction.samples()
    return found.labels, found.offsets.tolist(), found.times_ms.tolist(), found.values.tolist()


@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(ENTRIES, QUERIES)
def test_samples_are_the_same(entries: list[tuple[str, dict[str, str]]], text: str) -> None:
    expr: Any = parse(text)
    for leaf in leaves(expr):
        names = labels_told_apart(leaf)
        try:
            found = samples(leaf, entries, names)
        except AllLabelsNeeded:
            continue
        assert found == samples(leaf, entries, None), (text, names)
