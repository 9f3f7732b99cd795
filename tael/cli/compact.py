"""Shortens answers for agents: only chosen fields, or long texts cut to previews and empty members left out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tael.model.payload import PREFIX

PREVIEW = 200
"""How many characters of a long text are shown."""
_EMPTY: tuple[object, ...] = (None, "", [], {})
_LISTS = ("spans", "logs", "metrics", "services", "letters", "names", "calls")


def compact(value: Any) -> Any:
    """The value without empty members, and with texts over PREVIEW characters cut and marked with their length; references to payloads are
    kept.
    """
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
    """An answer with its items made compact, and the rest unchanged."""
    return {key: [compact(item) for item in value] if key in _LISTS else value for key, value in answer.items()}


def chosen(answer: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """An answer whose items have only these fields, in this order; a dot selects a member of an object: ``attributes.http.route``."""
    return {key: [_picked(item, fields) for item in value] if key in _LISTS else value for key, value in answer.items()}


def known_fields(answer: Mapping[str, Any]) -> list[str]:
    """The fields that any item of an answer has, in order of appearance; empty without items."""
    items = (item for key, value in answer.items() if key in _LISTS for item in value)
    return list(dict.fromkeys(name for item in items for name in item))


def has_place(field: str, known: Sequence[str]) -> bool:
    """Whether a field is a known one, or a path into one; no item need have the value at the path."""
    return any(field == name or field.startswith(f"{name}.") for name in known)


def _picked(item: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: found for name in fields if (found := _at(item, name)) is not None}


def _at(item: Any, path: str) -> Any:
    """The value at a path, or None. Keys may contain dots themselves, so the longest matching key is tried first."""
    if not isinstance(item, Mapping):
        return None
    if path in item:
        return item[path]
    cut = len(path)
    while (cut := path.rfind(".", 0, cut)) > 0:
        if path[:cut] in item and (found := _at(item[path[:cut]], path[cut + 1 :])) is not None:
            return found
    return None
