"""An item too large for one entry of the WAL keeps everything but the ends of its longest texts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.model.attributes import AttributeValue
from tael.otlp.anyvalue import decode_attributes, encode_attributes, encode_value
from tael.otlp.shorten import MARK, shorten

TEXTS = st.builds(lambda text, times: text * times, st.sampled_from(["a", "ä", "😀b"]), st.integers(0, 20_000))
VALUES: st.SearchStrategy[AttributeValue] = st.recursive(
    TEXTS | TEXTS.map(str.encode) | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)


def starts(whole: AttributeValue, cut: AttributeValue) -> bool:
    """Whether ``cut`` is ``whole`` with some texts ended early."""
    if isinstance(whole, str) and isinstance(cut, str):
        return whole.startswith(cut)
    if isinstance(whole, bytes) and isinstance(cut, bytes):
        return whole.startswith(cut)
    if isinstance(whole, dict) and isinstance(cut, dict):
        return whole.keys() == cut.keys() and all(starts(whole[key], cut[key]) for key in whole)
    if isinstance(whole, list | tuple) and isinstance(cut, list | tuple):
        return len(whole) == len(cut) and all(starts(one, other) for one, other in zip(whole, cut, strict=True))
    return whole == cut


@given(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), st.dictionaries(st.sampled_from("de"), VALUES, max_size=2))
@settings(max_examples=200)
def test_a_span_is_made_to_fit(own: dict[str, AttributeValue], of_event: dict[str, AttributeValue]) -> None:
    """With all its attributes and those of its events, in the room of a few texts."""
    span = Span(name="n", trace_id=b"t" * 16, attributes=encode_attributes(own))
    span.events.add(name="e", attributes=encode_attributes(of_event))
    room = 12_000
    if span.ByteSize() <= room:
        return
    assert shorten(span, room)
    assert span.ByteSize() <= room
    kept = dict(decode_attributes(span.attributes))
    assert kept.pop(MARK)
    assert starts(own, kept)
    assert starts(of_event, dict(decode_attributes(span.events[0].attributes)))


def test_the_longest_text_goes_and_is_named() -> None:
    """What is short stays whole, whatever it stands beside; bodies of log records count too."""
    record = LogRecord(body=encode_value({"prompt": "p" * 100_000}), attributes=encode_attributes({"short": "s" * 1_000}))
    assert shorten(record, 50_000)
    kept = dict(decode_attributes(record.attributes))
    assert (kept["short"], kept[MARK]) == ("s" * 1_000, ["prompt: 100000 bytes"])
    assert 44_000 < len(record.body.kvlist_value.values[0].value.string_value) < 50_000


def test_what_no_cutting_helps_is_left_alone() -> None:
    """Ten thousand small attributes are no long text."""
    span = Span(attributes=encode_attributes({f"k{index}": index for index in range(10_000)}))
    before = span.SerializeToString()
    assert not shorten(span, 5_000)
    assert span.SerializeToString() == before
