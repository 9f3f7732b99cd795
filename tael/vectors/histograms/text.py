"""Native histograms as text: the ``{{schema:0 sum:5 count:4 buckets:[1 2 1]}}`` of test scripts, and the form used in label values."""

from __future__ import annotations

import re
from typing import TypeAlias

import numpy as np

from tael.errors import Rejected
from tael.model.histogram import (
    CUSTOM_BUCKETS,
    MAX_SCHEMA,
    MIN_SCHEMA,
    RESET_GAUGE,
    RESET_NO,
    RESET_UNKNOWN,
    RESET_YES,
    Buckets,
    Histograms,
    compact,
    concatenate,
)
from tael.model.series import Floats
from tael.vectors.annotations import number
from tael.vectors.histograms.dense import ascending
from tael.vectors.histograms.sums import weighted

_Literal: TypeAlias = "dict[str, float | list[float] | str]"

_LISTS = ("buckets", "n_buckets", "custom_values")
_INTEGERS = ("schema", "offset", "n_offset")
_NUMBERS = ("sum", "count", "z_bucket", "z_bucket_w")
_HINTS = {"unknown": RESET_UNKNOWN, "reset": RESET_YES, "not_reset": RESET_NO, "gauge": RESET_GAUGE}
_KEYS = (*_INTEGERS, *_NUMBERS, *_LISTS, "counter_reset_hint")
_ITEM = re.compile(r"\s*(\w+)\s*:\s*(?:\[([^\]]*)\]|([^\s\[\]}]+))\s*")


def parse(text: str) -> Histograms:
    """The histogram that ``{{key:value …}}`` describes, as one row. Raises Rejected, naming the key, for anything else.

    Keys are schema, sum, count, z_bucket, z_bucket_w, custom_values, buckets, offset, n_buckets, n_offset, counter_reset_hint (unknown,
    reset, not_reset, gauge). All may be left out.
    """
    stripped = text.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")):
        raise Rejected(f"{text!r} is not a histogram", where="histogram", accepted="{{key:value …}}")
    return _built(_read(stripped[2:-2]))


def series(first: Histograms, step: Histograms | None, times: int, *, subtract: bool = False) -> Histograms:
    """``first`` and ``times`` more, each ``step`` above (or below) the one before; the expansion of ``{{…}}+{{…}}x5``."""
    rows = np.zeros(times + 1, np.int64)
    if step is None:
        return first.take(rows)
    every = np.arange(times + 1)
    weights = np.concatenate([np.ones(times + 1), every[1:] * (-1.0 if subtract else 1.0)])
    both = concatenate([first, step])
    total = weighted(both, np.concatenate([rows, rows[1:] + 1]), weights, np.concatenate([every, every[1:]]), times + 1)
    if total.mixed.any():
        raise Rejected("exponential and custom buckets do not add up", where="histogram", accepted="a step of the same kind")
    return total.histograms


def expressions(histograms: Histograms) -> list[str]:
    """Each histogram as ``{{…}}``, which ``parse`` reads back."""
    return [_expression(histograms, row) for row in range(len(histograms))]


def strings(histograms: Histograms) -> list[str]:
    """Each histogram as Prometheus prints it, ``{count:4, sum:5, (0.5,1]:1, …}``, which ``count_values`` uses as a label's value."""
    row = ascending(histograms)
    ends = ("[", "[", "("), (")", "]", "]")
    first_custom = np.isneginf(row.lower)
    buckets = [
        f"{'[' if first else ends[0][sign + 1]}{number(lower)},{number(upper)}{ends[1][sign + 1]}:{number(count)}"
        for lower, upper, count, sign, first in zip(
            row.lower.tolist(), row.upper.tolist(), row.counts.tolist(), row.sign.tolist(), first_custom.tolist(), strict=True
        )
    ]
    return [
        "{" + ", ".join([f"count:{number(count)}", f"sum:{number(total)}", *buckets[begin:end]]) + "}"
        for count, total, begin, end in zip(
            histograms.count.tolist(), histograms.sum.tolist(), row.offsets[:-1].tolist(), row.offsets[1:].tolist(), strict=True
        )
    ]


def _read(text: str) -> _Literal:
    found: _Literal = {}
    at = 0
    while at < len(text):
        item = _ITEM.match(text, at)
        if item is None:
            if not text[at:].strip():
                break
            raise Rejected(f"cannot read {text[at:].strip()!r}", where="histogram", accepted="key:value, or key:[value …]")
        key, many, one = item.groups()
        if key in found:
            raise Rejected("is given twice", where=f"histogram.{key}", accepted="each key once")
        found[key] = _value(key, many, one)
        at = item.end()
    return found


def _value(key: str, many: str | None, one: str | None) -> float | list[float] | str:
    if key not in _KEYS:
        raise Rejected("not a histogram key", where=f"histogram.{key}", accepted=", ".join(_KEYS))
    if (key in _LISTS) != (many is not None):
        raise Rejected("has the wrong form", where=f"histogram.{key}", accepted="[…]" if key in _LISTS else "one value")
    if many is not None:
        return [_number(key, part) for part in many.split()]
    if key == "counter_reset_hint":
        if one not in _HINTS:
            raise Rejected(f"{one!r} is not a counter reset hint", where=f"histogram.{key}", accepted=", ".join(_HINTS))
        return str(one)
    return _number(key, str(one))


def _number(key: str, text: str) -> float:
    try:
        return float(int(text, 16)) if "0x" in text.lower() else float(text)
    except ValueError:
        raise Rejected(f"{text!r} is not a number", where=f"histogram.{key}", accepted="a number, Inf or NaN") from None


def _built(literal: _Literal) -> Histograms:
    schema = _whole(literal, "schema")
    custom = schema == CUSTOM_BUCKETS
    if not custom and not MIN_SCHEMA <= schema <= MAX_SCHEMA:
        raise Rejected(
            f"{schema} is not a histogram schema", where="histogram.schema", accepted=f"{MIN_SCHEMA} to {MAX_SCHEMA}, {CUSTOM_BUCKETS}"
        )
    hint = _HINTS[str(literal.get("counter_reset_hint", "unknown"))]
    return compact(
        Histograms(
            np.array([schema], np.int32),
            _column(literal, "count"),
            _column(literal, "sum"),
            _column(literal, "z_bucket_w"),
            _column(literal, "z_bucket"),
            _buckets(_list(literal, "buckets"), _whole(literal, "offset")),
            _buckets(_list(literal, "n_buckets"), _whole(literal, "n_offset")),
            np.array([0 if custom else -1], np.int32),
            (tuple(_list(literal, "custom_values")),) if custom else (),
            np.array([hint], np.uint8),
        )
    )


def _column(literal: _Literal, key: str) -> Floats:
    value = literal.get(key, 0.0)
    return np.array([value if isinstance(value, float) else 0.0])


def _whole(literal: _Literal, key: str) -> int:
    value = literal.get(key, 0.0)
    if not isinstance(value, float) or not value.is_integer():
        raise Rejected(f"{value} is not an integer", where=f"histogram.{key}", accepted="an integer")
    return int(value)


def _list(literal: _Literal, key: str) -> list[float]:
    value = literal.get(key, [])
    return value if isinstance(value, list) else []


def _buckets(counts: list[float], offset: int) -> Buckets:
    index = np.arange(offset, offset + len(counts), dtype=np.int32)
    return Buckets(np.array([0, len(counts)], np.int64), index, np.array(counts, np.float64))


def _expression(histograms: Histograms, row: int) -> str:
    one = histograms.take(np.array([row]))
    scalars = (("count", one.count), ("sum", one.sum), ("z_bucket", one.zero_count), ("z_bucket_w", one.zero_threshold))
    parts = [f"schema:{one.schema[0]}"] if one.schema[0] else []
    parts += [f"{key}:{number(float(column[0]))}" for key, column in scalars if column[0] != 0]
    if one.bounds[0] >= 0:
        parts.append(f"custom_values:{_listed(one.layouts[one.bounds[0]])}")
    if one.reset_hint[0] != RESET_UNKNOWN:
        parts.append(f"counter_reset_hint:{next(name for name, hint in _HINTS.items() if hint == one.reset_hint[0])}")
    for prefix, side in (("", one.positive), ("n_", one.negative)):
        if len(side.index):
            first = int(side.index[0])
            counts = np.zeros(int(side.index[-1]) - first + 1)
            counts[side.index - first] = side.counts
            parts += [f"{prefix}offset:{first}"] if first else []
            parts.append(f"{prefix}buckets:{_listed(tuple(counts.tolist()))}")
    return "{{" + " ".join(parts) + "}}"


def _listed(values: tuple[float, ...]) -> str:
    return "[" + " ".join(map(number, values)) + "]"
