"""Counting a request's messages by scanning its tags."""

from __future__ import annotations

import random

import pytest

from tael.errors import TooLarge
from tael.otlp.census import MAX_REQUEST_MESSAGES, allowed, count_fields, request_tree
from tael.otlp.signals import SIGNALS
from tests.support.hostile import in_fields, repeated
from tests.support.otlp import request_of

TRACES = request_tree(SIGNALS["traces"].request)


def test_the_way_to_the_items_is_counted_and_small_items_are_not_opened() -> None:
    request = request_of(1_000)
    request.resource_spans[0].schema_url = ""
    assert (
        count_fields(request.SerializeToString(), TRACES, 500_000) == 1 + 2 + 1 + 1_000
    )  # the group, its resource and scope, scope, spans


def test_a_large_item_is_opened_and_so_is_what_is_large_in_it() -> None:
    request = request_of(1, attribute="x" * 40_000)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    request.resource_spans[0].schema_url = ""
    few = count_fields(request.SerializeToString(), TRACES, 500_000)
    fields, attributes = len(span.ListFields()) - 1 + 11, 11 * (2 + 1)  # each attribute, its key and value, and the value's text
    assert few == 1 + 2 + 1 + 1 + fields + attributes


@pytest.mark.parametrize(
    ("size", "most", "limit"), [(0, 500_000, 10_000), (16 << 10, 500_000, 11_024), (1 << 30, 500_000, 500_000), (0, 5, 5)]
)
def test_a_request_may_hold_what_its_size_allows(size: int, most: int, limit: int) -> None:
    assert allowed(size, most) == limit


@pytest.mark.parametrize(
    "body",
    [
        repeated(b"\x0a\x00", 1 << 20),
        in_fields(repeated(b"\x12\x00", 1 << 20), 1),
        in_fields(repeated(b"\x12\x00", 1 << 20), 2, 1),
        in_fields(repeated(b"\x4a\x00", 1 << 20), 2, 2, 1),
        in_fields(repeated(b"\x22\x00", 1 << 20), 5, 2, 9, 2, 2, 1),
        repeated(b"\x08\x00", 1 << 20),
        repeated(b"\xfa\x7f\x00", 1 << 20),
        repeated(b"\x0b\x0c", 1 << 20),
    ],
)
def test_messages_are_counted_wherever_they_are(body: bytes) -> None:
    with pytest.raises(TooLarge, match=MAX_REQUEST_MESSAGES):
        count_fields(body, TRACES, 500_000)


def test_invalid_protobuf_is_counted_up_to_the_error() -> None:
    """The parser refuses it later."""
    chance, whole = random.Random(7), request_of(200).SerializeToString()
    for _ in range(300):
        body = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(chance.randrange(8)):
            body[chance.randrange(len(body) or 1) :] = chance.randbytes(chance.randrange(4))
        assert count_fields(bytes(body) * 2, TRACES, 500_000) >= 0
