"""Compression of requests and answers."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.hotnode.codec import Decoder, choose_encoding, request_decoders, response_encoder
from services.hotnode.errors import StatementFailed


def through(decoders: Sequence[Decoder], packed: bytes, step: int) -> bytes:
    """Decode in pieces of ``step`` bytes."""
    out = b""
    for at in range(0, len(packed), step):
        piece = packed[at : at + step]
        for decoder in decoders:
            piece = decoder.decode(piece)
        out += piece
    for decoder in decoders:
        decoder.finish()
    return out


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4", "identity"])
@given(pieces=st.lists(st.binary(max_size=2000), max_size=5), step=st.integers(1, 700))
def test_encoded_bytes_decode(encoding: str, pieces: list[bytes], step: int) -> None:
    packed = b"".join(pieces)
    if encoding != "identity":
        encoder = response_encoder(encoding, level=3)
        packed = b"".join(map(encoder.encode, pieces)) + encoder.finish()
    assert through(request_decoders(encoding), packed, step) == b"".join(pieces)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("lz4", lz4.frame.compress)])
def test_frames_may_follow_one_another(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    two = compress(b"a") + compress(b"b")
    assert through(request_decoders(encoding), two, 1000) == b"ab"
    assert through(request_decoders(encoding), two, 1) == b"ab"


def test_cut_or_foreign_bytes_are_refused() -> None:
    zstd = zstandard.ZstdCompressor().compress(b"x" * 1000)
    for encoding, packed in (("zstd", zstd[:-1]), ("gzip", b"nope"), ("lz4", b"nope-nope-nope"), ("zstd", b"nope")):
        with pytest.raises(StatementFailed):
            through(request_decoders(encoding), packed, 1000)
    with pytest.raises(StatementFailed):
        request_decoders("br")


def test_the_servers_order_of_preference() -> None:
    assert choose_encoding("zstd, gzip;q=0.5, lz4") == "lz4"
    assert choose_encoding("gzip, zstd") == "gzip"
    assert choose_encoding("br") == ""
