"""Answers cut down to what an agent reads: chosen fields, or long texts as previews and nothing that is empty. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tael.model.payload import PREFIX

PREVIEW = 200
"""Characters of a text that are shown before it is cut."""
_EMPTY: tuple[object, ...] = (None, "", [], {})
_LISTS = ("spans", "logs", "metrics", "services", "letters", "names", "calls")


def compact(value: Any) -> Any:
    """Without empty members, and with texts over PREVIEW characters cut and marked with their length; references are short and say it themselves."""
    if isinstance(value, str):
        return (
            value
            if len(value) <= PREVIEW or value.startswith(PREFIX)
            else f"{value[:PREVIEW]}… ({len(value)} characters; --full shows all)"
        )
    if isinstance(value, Mapping):
        return {key: compact(item) for key, item in value.items() if item not in _EMPTY}
    if isinstance(value, Sequence):
        return [compact(item) for item in value]
    return value


def compact_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The items of an answer compact, the rest of it whole."""
    return {key: [compact(item) for item in value] if key in _LISTS else value for key, value in answer.items()}


def chosen(answer: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The items of an answer with these fields alone, in this order; a dot leads into an object: ``attributes.http.route``."""
    return {key: [_picked(item, fields) for item in value] if key in _LISTS else value for key, value in answer.items()}


def known_fields(answer: Mapping[str, Any]) -> list[str]:
    """The fields that some item of an answer has, in their order; none without items."""
    items = (item for key, value in answer.items() if key in _LISTS for item in value)
    return list(dict.fromkeys(name for item in items for name in item))


def has_place(field: str, known: Sequence[str]) -> bool:
    """Whether a field is one of the known ones, or a path into one; an item need not have what it leads to."""
    return any(field == name or field.startswith(f"{name}.") for name in known)


def _picked(item: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: found for name in fields if (found := _at(item, name)) is not None}


def _at(item: Any, path: str) -> Any:
    """The value at a path; keys have dots of their own, so the longest one that fits is tried first."""
    if not isinstance(item, Mapping):
        return None
    if path in item:
        return item[path]
    cut = len(path)
    while (cut := path.rfind(".", 0, cut)) > 0:
        if path[:cut] in item and (found := _at(item[path[:cut]], path[cut + 1 :])) is not None:
            return found
    return None
