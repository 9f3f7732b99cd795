"""The references of a row to payloads, as SQL; pure. They are those that readers resolve (tael.otlp.resolve): attribute values of items,
events and links, and bodies of log records, that begin like a reference.
"""

from __future__ import annotations

from typing import Final

from tael.model.payload import PREFIX

NO_ITEM: Final = "toFixedString('', 16)"
"""The item of an index row that represents the payload itself."""
KNOWN: Final = "tael_known_references"
"""The table that tells whether the index knows everything that refers to a payload."""
NEVER: Final = "toDateTime64(0, 9, 'UTC')"
"""The time of sending of a payload that was never sent."""
_BEGINS: Final = f"startsWith(value, '{PREFIX}')"
_WHOLE: Final = f"match(reference, '^{PREFIX.replace('.', '[.]')}[0-9a-f]{{64}}:')"
_HASH: Final = f"toFixedString(unhex(substring(reference, {len(PREFIX) + 1}, 64)), 32)"


def _of(attributes: str) -> str:
    return f"arrayFilter(value -> {_BEGINS}, mapValues({attributes}))"


def _of_each(attributes: str) -> str:
    return f"arrayFlatten(arrayMap(one -> {_of('one')}, `{attributes}`))"


_OF_SPAN: Final = f"arrayConcat({_of('attributes_string')}, {_of_each('events.attributes_string')}, {_of_each('links.attributes_string')})"
OF_LOG: Final = f"arrayConcat({_of('attributes_string')}, if(startsWith(body, '{PREFIX}'), [body], []))"
LOOSE_ITEM: Final = "sipHash128(timestamp, serial)"
"""The item id of a log record that is in no trace."""
_LOG_ITEM: Final = f"if(trace_id = {NO_ITEM}, {LOOSE_ITEM}, trace_id)"


def span_references_select(source: str) -> str:
    """The rows of ``payload_references`` for the spans in ``source``."""
    return _select(source, _OF_SPAN, "start_time", "trace_id")


def log_references_select(source: str) -> str:
    """The rows of ``payload_references`` for the log records in ``source``."""
    return _select(source, OF_LOG, "timestamp", _LOG_ITEM)


def used(index: str, where: str) -> str:
    """For each payload and hour of the index: when it was last sent there, how many items there refer to it, and the last arrival of
    either.
    """
    return (
        f"SELECT tenant, hash, hour, maxIf(received_at, item = {NO_ITEM}) AS sent, countIf(item != {NO_ITEM}) AS referred, max(received_at) AS last\n"  # the same
        f"FROM {index} WHERE {where} GROUP BY tenant, hash, hour"
    )


def left_alone(migrations: str, known: str) -> str:
    """The condition that a row of ``used`` is a payload from before the index began, whose references are not all known."""
    began = f"SELECT max(applied_at) FROM {migrations} WHERE endsWith(name, 'payload_references')"  # noqa: S608  # the same
    whole = f"SELECT count() FROM {known} WHERE fact = 'whole'"  # noqa: S608  # the same
    return f"(sent > {NEVER} AND least(hour, sent) <= ({began}) AND ({whole}) = 0)"


def _select(source: str, references: str, time: str, item: str) -> str:
    rows = f"SELECT tenant, toStartOfHour({time}) AS hour, {item} AS item, received_at, arrayJoin({references}) AS reference FROM {source}"  # noqa: S608  # names of ours
    return (
        f"SELECT tenant, {_HASH} AS hash, hour, item, max(received_at) AS received_at\n"  # the same
        f"FROM ({rows})\nWHERE {_WHOLE}\nGROUP BY tenant, hash, hour, item"
    )
