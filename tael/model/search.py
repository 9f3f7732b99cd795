"""The filters of a search as a predicate; stored and live searches share this definition. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tael.model.predicate import NOTHING, Compare, Contains, Field, Or, Predicate, Value, Words, all_of, intrinsic, words_of

_COSTS = ("llm_cost_usd", "llm_computed_cost_usd")


def find_spans(
    *,
    service: str = "",
    operation: str = "",
    status_code: int | None = None,
    min_duration_ns: int | None = None,
    max_duration_ns: int | None = None,
    trace_id: bytes = b"",
    model: str = "",
    min_cost_usd: float | None = None,
    attributes: Iterable[tuple[str, str]] = (),
    text: str = "",
) -> Predicate:
    """Spans that match everything that is set.

    ``operation`` is a case-sensitive substring of the span's name, ``status_code`` OTLP's number. ``attributes`` are compared as text
    (``attribute_is``). ``model`` matches the requested or the responding model, ``min_cost_usd`` the reported or else the computed cost.
    The words of ``text`` must all occur in the span's prompts or completions, ignoring case: as whole words, or for non-ASCII words as any
    part of the text, because not every script puts spaces between words.
    """
    parts: list[Predicate | None] = [
        Compare(intrinsic("service"), "=", service) if service else None,
        _related("status", "=", status_code),
        Contains(intrinsic("name"), operation) if operation else None,
        _related("trace_id", "=", trace_id or None),
        _related("duration", ">=", min_duration_ns or None),
        _related("duration", "<=", max_duration_ns),
        Or((Compare(intrinsic("llm_model"), "=", model), Compare(intrinsic("llm_response_model"), "=", model))) if model else None,
        None if min_cost_usd is None else Or(tuple(Compare(intrinsic(cost), ">=", min_cost_usd) for cost in _COSTS)),
        *(attribute_is(key, value) for key, value in attributes),
        *dict.fromkeys(map(_says, text.split())),
    ]
    return all_of(part for part in parts if part is not None)


def find_logs(
    *,
    service: str = "",
    level: int | None = None,
    min_level: int | None = None,
    trace_id: bytes = b"",
    span_id: bytes = b"",
    attributes: Iterable[tuple[str, str]] = (),
    body_contains: str = "",
    words: str = "",
) -> Predicate:
    """Log records that match everything that is set.

    Levels are those of ``LogRecord.level``. ``body_contains`` is a substring of the body, and all of ``words`` must occur in it as whole
    words (a text without any word finds nothing). Both ignore case. A body that is not a string is searched in its encoded form, which has
    its strings unchanged.
    """
    parts: list[Predicate | None] = [
        Compare(intrinsic("service"), "=", service) if service else None,
        _related("trace_id", "=", trace_id or None),
        _related("span_id", "=", span_id or None),
        _related("level", "=", level),
        _related("level", ">=", min_level),
        *(attribute_is(key, value) for key, value in attributes),
        _has_words(words) if words else None,
        Contains(intrinsic("body"), body_contains, ignore_case=True) if body_contains else None,
    ]
    return all_of(part for part in parts if part is not None)


def attribute_is(key: str, text: str) -> Predicate:
    """Whether ``key``, on the item or on its resource, has a value that ``text`` can denote: ``5`` is the string, the integer and the
    double.
    """
    fields = (Field("attribute", key), Field("resource", key))
    return Or(tuple(Compare(field, "=", value) for value in _meanings(text) for field in fields))


def _says(word: str) -> Predicate:
    words = words_of(word)
    content = intrinsic("llm_content")
    # Whole words only where words are separated by spaces; texts in other scripts are searched for any part.
    return Words(content, words) if words and word.isascii() else Contains(content, word, ignore_case=True)


def _has_words(text: str) -> Predicate:
    words = words_of(text)
    return Words(intrinsic("body"), words) if words else NOTHING


def _related(name: str, op: str, value: Value | None) -> Predicate | None:
    return None if value is None else Compare(intrinsic(name), op, value)  # type: ignore[arg-type]  # an Operator


def _meanings(text: str) -> Sequence[Value]:
    """The values that a text can denote, the text itself first."""
    meanings: list[Value] = [text]
    number = _number(text)
    if number is not None and number.is_integer() and -(1 << 63) <= (whole := _whole(text, number)) < 1 << 63:
        meanings.append(whole)
    if number is not None:
        meanings.append(number)
    if text in {"true", "false"}:
        meanings.append(text == "true")
    return meanings


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and text.strip() == text and "_" not in text else None


def _whole(text: str, number: float) -> int:
    """The integer that the text denotes, exact even beyond 2^53, where ``number`` is rounded."""
    try:
        return int(text)
    except ValueError:
        return int(number)
