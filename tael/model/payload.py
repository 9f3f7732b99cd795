"""Large values that are stored apart from their items: the content under its SHA-256, and the reference that an item keeps in its place.
Pure.

A reference is the text ``tael.payload:sha256:<hex>:<bytes>``, followed by ``:array``, ``:map`` or ``:bytes`` where the value was not a
string, and after a space by the beginning of the value (docs/formats.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Form = Literal["string", "array", "map", "bytes"]
PREFIX: Final = "tael.payload:sha256:"
HASH_BYTES: Final = 32
_REFERENCE = re.compile(r"tael\.payload:sha256:([0-9a-f]{64}):([0-9]{1,18})(?::(array|map|bytes))?(?: (.*))?", re.DOTALL)

_ANYWHERE = re.compile(rb"tael\.payload:sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to a value of ``size_bytes`` bytes: a string in UTF-8, bytes, or an array or a map in protobuf's encoding."""

    sha256: bytes
    size_bytes: int
    form: Form = "string"
    preview: str = ""

    def __str__(self) -> str:
        form = "" if self.form == "string" else f":{self.form}"
        preview = f" {self.preview}" if self.preview else ""
        return f"{PREFIX}{self.sha256.hex()}:{self.size_bytes}{form}{preview}"


def hashes_in(data: bytes) -> set[bytes]:
    """The hashes of all references anywhere in an encoded message."""
    return {bytes.fromhex(found.decode()) for found in _ANYWHERE.findall(data)}


def parse_reference(text: str) -> Reference | None:
    """The reference that ``text`` is, or None for any other text."""
    found = _REFERENCE.fullmatch(text) if text.startswith(PREFIX) else None
    if found is None:
        return None
    form: Form = found[3] or "string"  # type: ignore[assignment]  # the expression names them
    return Reference(bytes.fromhex(found[1]), int(found[2]), form, found[4] or "")


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload's content, and the hours of the items that refer to it: each hour's start in seconds since the epoch."""

    sha256: bytes
    content: bytes
    hours: tuple[int, ...]
