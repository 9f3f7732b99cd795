"""Payloads as bodies of the WAL: pieces can always be joined again, and references are parsed as written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tael.model.payload import Reference, parse_reference
from tael.pb.payloads_pb2 import PayloadBatch
from tael.wal import codec
from tael.wal.payloads import Wanted, bodies, joined, pieces

CONTENTS = st.binary(max_size=400) | st.text("ab ", max_size=400).map(str.encode)


@given(st.lists(CONTENTS, max_size=5), st.integers(220, 1_000))
def test_bodies_hold_every_content_and_none_is_too_large(contents: list[bytes], most: int) -> None:
    wanted = [Wanted(3600 * n, bytes([n]) * 32, content) for n, content in enumerate(contents)]
    found: dict[tuple[int, bytes], list[tuple[int, bytes]]] = {}
    sizes = {}
    for body in bodies("t", 0, wanted, 5, most):
        assert len(body.body) <= most
        (record,) = codec.decode(body.body)
        batch = PayloadBatch.FromString(record.request)
        assert body.items == record.items == len(batch.payloads)
        for piece in batch.payloads:
            found.setdefault((piece.hour, piece.sha256), []).append((piece.offset, piece.content))
            sizes[piece.hour, piece.sha256] = piece.size
    assert {key: joined(held, sizes[key]) for key, held in found.items()} == {(one.hour, one.sha256): one.content for one in wanted}


@given(CONTENTS, st.integers(1, 50), st.integers(1, 50), st.data())
def test_pieces_of_two_cuts_make_one_content(content: bytes, one: int, other: int, data: st.DataObject) -> None:
    """Unless every piece with some byte is missing."""
    both = [*pieces(content, one), *pieces(content, other)]
    kept = data.draw(st.lists(st.sampled_from(both), unique=True))
    held = {at for offset, piece in kept for at in range(offset, offset + len(piece))}
    assert joined(both, len(content)) == content
    assert joined(kept, len(content)) == (content if len(held) == len(content) else None)


@given(
    st.binary(min_size=32, max_size=32), st.integers(0, 1 << 40), st.sampled_from(["string", "array", "map", "bytes"]), st.text(max_size=50)
)
def test_references_are_read_as_they_are_written(sha256: bytes, size: int, form: str, preview: str) -> None:
    reference = Reference(sha256, size, form, preview)  # type: ignore[arg-type]  # one of the forms
    assert parse_reference(str(reference)) == reference


def test_other_texts_are_no_references() -> None:
    for text in (
        "",
        "tael.payload:sha256:",
        f"tael.payload:sha256:{'a' * 63}:5",
        f"tael.payload:sha256:{'A' * 64}:5",
        f" tael.payload:sha256:{'a' * 64}:5",
    ):
        assert parse_reference(text) is None
