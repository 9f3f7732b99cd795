"""Every span is equal to itself after encoding and decoding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tael.model.attributes import AttributeValue
from tael.model.span import Event, Link, Resource, Scope, Span
from tael.otlp.decode import decode_spans
from tael.otlp.encode import encode_spans

scalars: st.SearchStrategy[AttributeValue] = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False), st.text(max_size=5), st.binary(max_size=5)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6
)
attributes = st.dictionaries(st.text(max_size=5), values, max_size=4)
counts = st.integers(0, (1 << 32) - 1)
times = st.integers(0, (1 << 64) - 1)
texts = st.text(max_size=5)
resources = st.builds(Resource, attributes, counts, texts)
scopes = st.builds(Scope, texts, texts, attributes, counts, texts)
ids = st.binary(min_size=16, max_size=16)
short_ids = st.binary(min_size=8, max_size=8)
enums = st.integers(-(1 << 31), (1 << 31) - 1)


def spans_under(resource: st.SearchStrategy[Resource], scope: st.SearchStrategy[Scope]) -> st.SearchStrategy[Span]:
    return st.builds(
        Span,
        trace_id=ids,
        span_id=short_ids,
        parent_span_id=st.just(b"") | short_ids,
        name=texts,
        kind=enums,
        start_ns=times,
        end_ns=times,
        resource=resource,
        scope=scope,
        trace_state=texts,
        flags=counts,
        attributes=attributes,
        dropped_attributes_count=counts,
        events=st.lists(st.builds(Event, times, texts, attributes, counts), max_size=2).map(tuple),
        dropped_events_count=counts,
        links=st.lists(st.builds(Link, st.binary(max_size=20), st.binary(max_size=9), texts, attributes, counts, counts), max_size=2).map(
            tuple
        ),
        dropped_links_count=counts,
        status_code=enums,
        status_message=texts,
        llm=st.none(),
    )


@given(spans_under(resources, scopes))
def test_a_span_comes_back(span: Span) -> None:
    """Field by field; ``repr`` distinguishes 1 from 1.0 and True, and -0.0 from 0.0."""
    (read,) = decode_spans(encode_spans([span]))
    assert repr(read) == repr(span)


some_resources = st.sampled_from([Resource({"a": value}) for value in (1, 1.0, True)] + [Resource(schema_url="u"), Resource()])
some_scopes = st.sampled_from([Scope(), Scope("lib"), Scope("lib", schema_url="u")])


@given(st.lists(spans_under(some_resources, some_scopes), max_size=12))
def test_spans_are_grouped_and_none_is_lost(spans: list[Span]) -> None:
    """One group for each distinct resource and scope, in order of appearance, each with its spans in order."""
    groups = encode_spans(spans)
    assert len(groups) == len({repr(span.resource) for span in spans})
    assert sum(len(group.scope_spans) for group in groups) == len({repr((span.resource, span.scope)) for span in spans})
    first_seen = list(dict.fromkeys(repr(span.resource) for span in spans))
    in_order = sorted(spans, key=lambda span: first_seen.index(repr(span.resource)))
    read = list(decode_spans(groups))
    for scope in {repr(span.scope) for span in spans}:
        assert [repr(span) for span in read if repr(span.scope) == scope] == [repr(span) for span in in_order if repr(span.scope) == scope]
