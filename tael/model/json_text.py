"""JSON of any received value: NaN and infinities, which JSON does not have, are written as strings, as in protobuf's JSON, and halves of
surrogate pairs, which UTF-8 does not have, are read as U+FFFD; pure.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_REPLACED: Final = "\N{REPLACEMENT CHARACTER}"


def from_text(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, or RecursionError for one that is nested too deeply."""
    value = json.loads(text)
    # Only an escape can make one: a text that was cut between the two halves of an emoji has its first.
    if "\\u" in text and _SURROGATES.search(again := json.dumps(value, ensure_ascii=False)):
        return json.loads(_SURROGATES.sub(_REPLACED, again))
    return value


def encodable(text: str) -> str:
    """The text with lone surrogates, which JSON can contain but UTF-8 cannot encode, replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATES.sub(_REPLACED, text)


def to_text(value: object, *, sort_keys: bool = False, default: Callable[[Any], object] | None = None) -> str:
    """Compact JSON with non-ASCII text unescaped; ``default`` converts a value that JSON has no type for."""

    def written(what: object) -> str:
        return json.dumps(what, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=sort_keys, default=default)

    try:
        return written(value)
    except ValueError:  # rare; checking every value first would cost each call
        return written(finite(value))


def to_bytes(value: object) -> bytes:
    """``to_text`` in UTF-8; the value must consist of JSON's own types."""
    return to_text(value).encode()


def finite(value: object) -> object:
    """The value with non-finite numbers replaced by ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``."""
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value
