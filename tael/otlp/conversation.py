"""Converts the content of an LLM call, in any dialect, to one form: messages with a role and parts. Pure.

The form is that of OpenTelemetry's `gen_ai.input.messages`: a part is text, a tool call, a tool's answer, reasoning, or something else,
which is kept unchanged. Content that cannot be parsed as messages becomes one message with its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from tael.model import json_text
from tael.model.attributes import Attributes
from tael.otlp.genai import CONVERSATION, EVENTS, MEMBER

Kind: TypeAlias = Literal["text", "tool_call", "tool_result", "reasoning", "other"]
_ROLES: Final = {
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "function": "tool",
    "developer": "system",
    "completion": "assistant",
}
# Senders choose the keys, so indexes and paths are bounded: int() refuses very long numbers, and deep paths would exhaust the stack.
_INDEX: Final = re.compile(r"[0-9]{1,9}")
_INDEXED: Final = re.compile(rf"({_INDEX.pattern})\.(?:message\.)?(.+)")
_LISTS: Final = ("messages", "contents", "input", "prompt", "choices", "candidates", "generations", "output", "outputs")
_SYSTEM: Final = ("system", "system_instruction", "instructions")
"""Where a request has its system prompt, in itself or in its ``config``."""
_MAX_DEPTH: Final = 8
_MAX_PATH: Final = 32
_MAX_NESTING: Final = 100


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message: ``text`` for text, reasoning and tools' answers; ``name``, ``call_id`` and ``arguments`` for tool calls; else
    ``value``.
    """

    kind: Kind
    text: str = ""
    name: str = ""
    call_id: str = ""
    arguments: Any = None
    value: Any = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its role and parts."""

    role: str
    parts: tuple[Part, ...]
    finish_reason: str = ""


@dataclass(frozen=True, slots=True)
class CallMessages:
    """The input and output messages of a call, each in order."""

    input: list[Message] = field(default_factory=list)
    output: list[Message] = field(default_factory=list)


def call_messages(attributes: Attributes, events: Iterable[tuple[str, Any, Attributes]] = ()) -> CallMessages:
    """The messages of a call's span, from the first dialect of CONVERSATION that has any. ``events`` are the span's events and log records
    (name, body and attributes) in order of time; they are used if the attributes have no messages.
    """
    listed = [*_events_in(attributes), *events]
    for _, body, own in [event for event in listed if EVENTS.get(event[0]) == ""]:
        attributes = {**attributes, **own, **(body if isinstance(body, Mapping) else {})}
    call = CallMessages(_from_attributes(attributes, "input", "user"), _from_attributes(attributes, "output", "assistant"))
    system = _from_attributes(attributes, "system", "system")
    if system and not any(message.role == "system" for message in call.input):
        call.input[:0] = system
    from_events = _from_events(listed)
    return CallMessages(call.input or from_events.input, call.output or from_events.output)


def _events_in(attributes: Attributes) -> list[tuple[str, Any, Attributes]]:
    """The events listed in an attribute, as some dialects write them."""
    lists = (_read(attributes.get(key)) for key in CONVERSATION["events"])
    found = (item for listed in lists if isinstance(listed, list) for item in listed if isinstance(item, dict))
    return [(str(item.get("event.name")), item, {}) for item in found]


def _from_attributes(attributes: Attributes, side: str, role: str) -> list[Message]:
    for key in CONVERSATION[side]:
        if isinstance(key, list):
            found = _together([message for one in key for message in _of_key(attributes, one, role)])
        else:
            found = _of_key(attributes, key, role)
        if found:
            return found
    return []


def _of_key(attributes: Attributes, key: str, role: str) -> list[Message]:
    if key.endswith("."):
        return _indexed(attributes, key, role)
    name, _, member = key.partition(MEMBER)
    value = _read(attributes.get(name), quoted=name.startswith(tuple(CONVERSATION["json"])))
    if member:
        value = value.get(member) if isinstance(value, Mapping) else None
    found = _messages(value, role)
    if name.endswith(".reasoning"):
        return [
            replace(one, parts=tuple(replace(part, kind="reasoning") if part.kind == "text" else part for part in one.parts))
            for one in found
        ]
    return found


def _together(messages: Sequence[Message]) -> list[Message]:
    """The messages of several attributes, joined into one."""
    parts = tuple(part for message in messages for part in message.parts)
    return [Message(messages[0].role, parts)] if parts else []


def _from_events(events: Sequence[tuple[str, Any, Attributes]]) -> CallMessages:
    call = CallMessages()
    for name, body, attributes in events:
        role = EVENTS.get(name)
        if not role:
            continue
        whole = body if isinstance(body, Mapping) else _read(attributes.get("gen_ai.event.content"))
        value = whole if isinstance(whole, Mapping) else {**attributes, **({"content": body} if body else {})}
        if name == "gen_ai.choice":
            call.output.extend(_messages([_choice(value)], role))
        else:
            call.input.extend(_messages([{"role": role, **value}], role))
    return call


def _choice(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A choice whose message, or the parts of it, may be written as JSON: an event's attributes hold no objects."""
    message = value.get("message")
    if not isinstance(message, str) or (read := _read(message)) is message:
        return value
    return {**value, "message": {"content": read} if isinstance(read, list) else read}


def _indexed(attributes: Attributes, prefix: str, role: str) -> list[Message]:
    """Messages from keys such as ``gen_ai.prompt.0.content`` and ``llm.input_messages.0.message.tool_calls.0.tool_call.function.name``."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if key.startswith(prefix) and (match := _INDEXED.fullmatch(key[len(prefix) :])):
            _put(found.setdefault(int(match[1]), {}), match[2].split(".", _MAX_PATH), value)
    return [message for _, tree in sorted(found.items()) for message in _of_tree(_lists(tree), role)]


def _of_tree(tree: Any, role: str) -> list[Message]:
    """The message of one index; odd keys, such as ``gen_ai.prompt.0.0``, make something else of it."""
    if not isinstance(tree, Mapping):
        return _messages(tree, role)
    message = _message(tree, role)
    return [message] if message else []


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for step in path[:-1]:
        below = tree.setdefault(step, {})
        if not isinstance(below, dict):
            return
        tree = below
    # A key may be a prefix of another one (a, a.b): the first one is kept.
    tree.setdefault(path[-1], value)


def _lists(value: Any) -> Any:
    """The value with objects whose keys are all numbers as lists, and without the layers ``tool_call`` and ``message_content``."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(below) for key, below in value.items()}
    for layer in ("tool_call", "message_content"):
        if inner.keys() == {layer}:
            return inner[layer]
    if inner and all(map(_INDEX.fullmatch, inner)):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner


def _read(value: Any, *, quoted: bool = False) -> Any:
    """The value of a JSON text; anything else, and JSON nested too deeply, unchanged, and so a text in quotes unless it is known to be JSON
    (``quoted``).
    """
    if isinstance(value, str) and (value[:1] in ("{", "[") or (quoted and value[:1] == '"')):
        try:
            read = json_text.from_text(value)
        except (ValueError, RecursionError):
            return value
        return value if _is_deeper(read, _MAX_NESTING) else read
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists are nested deeper than ``levels``, which could exhaust the stack of recursive functions."""
    level = [value]
    for _ in range(levels):
        holders = [item for item in level if isinstance(item, dict | list)]
        level = [inner for item in holders for inner in (item.values() if isinstance(item, dict) else item)]
    return bool(level)


def _messages(value: Any, role: str, depth: int = 0) -> list[Message]:
    """The messages in a list, in an object that wraps a list, in a single object, or of a text, which is one message."""
    if value is None or value in ("", {}) or depth > _MAX_DEPTH:
        return []
    if isinstance(value, str):
        return [Message(role, (Part("text", value),))]
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        value = [_unwrapped(item) for item in value]
        if value and all(map(_is_part, value)):
            return _one(role, value)
        return [message for item in value for message in _messages(_read(item), role, depth + 1)]
    if not isinstance(value, Mapping):
        return [Message(role, (Part("other", value=value),))]
    return _of_object(_unwrapped(value), role, depth)


def _is_part(item: Any) -> bool:
    """Whether an item of a list is a part of a message, not a message itself."""
    return isinstance(item, Mapping) and "type" in item and not item.keys() & {"role", "content", "message"}


def _unwrapped(item: Any) -> Any:
    """A message without the class that LangChain wraps around it; any other item unchanged."""
    kwargs = item.get("kwargs") if isinstance(item, Mapping) and item.get("type") == "constructor" else None
    return kwargs if isinstance(kwargs, Mapping) else item


def _of_object(value: Mapping[str, Any], role: str, depth: int) -> list[Message]:
    if "toolName" in value and "role" not in value:  # a call that Vercel's AI SDK lists
        return [Message(role, (_call(value),))]
    inner = value.get("message")
    # A generation of LangChain has the text of its message beside it.
    around = isinstance(inner, Mapping) and not value.keys() & {"role", "content"}
    if not around and (message := _message(value, role)):
        return [message]
    if around or (isinstance(inner, str) and inner):
        found = _messages(inner, role, depth + 1)
        info = value.get("generation_info")
        reason = str(value.get("finish_reason") or (info.get("finish_reason") if isinstance(info, Mapping) else "") or "")
        return [Message(one.role, one.parts, one.finish_reason or reason) for one in found]
    system = next(
        (holder[name] for holder in (value, value.get("config")) if isinstance(holder, Mapping) for name in _SYSTEM if holder.get(name)),
        None,
    )
    before = _messages(_read(system), "system", depth + 1) if system else []
    for name in _LISTS:
        if value.get(name):
            return before + _messages(_read(value[name]), role, depth + 1)
    return before or [Message(role, (Part("other", value=value),))]


def _one(role: str, content: Any) -> list[Message]:
    parts = tuple(_parts(content))
    return [Message(role, parts)] if parts else []


def _message(value: Mapping[str, Any], role: str) -> Message | None:
    """A message in the form of OpenTelemetry, a chat API, Gemini or LangChain; None for an object that is not a message."""
    content = next((value[name] for name in ("parts", "content", "contents", "text") if value.get(name) not in (None, "")), None)
    calls = _read(value.get("tool_calls") or value.get("toolCalls"))
    if not isinstance(calls, list | tuple):
        calls = ()
    if content is None and not calls and "role" not in value:
        return None
    # An object with a list under "contents" or "text", and without a role, is a request that contains messages, not a message itself.
    if "role" not in value and isinstance(content, Mapping | list) and "parts" not in value and not calls and "content" not in value:
        return None
    who = str(value.get("role") or value.get("type") or role).lower()
    who = _ROLES.get(who, who if who in ("user", "assistant", "system", "tool") else role)
    parts = [*_parts(_read(content)), *(_call(call) for call in calls if isinstance(call, Mapping))]
    if who == "tool" and (call_id := value.get("tool_call_id") or value.get("id")):
        parts = [Part("tool_result", part.text, part.name, str(call_id)) if part.kind == "text" else part for part in parts]
    inner = value.get("content")
    if isinstance(inner, Mapping) and "parts" in inner:
        return _message({**inner, "role": inner.get("role") or who}, role)
    return Message(who, tuple(parts), str(value.get("finish_reason") or "")) if parts else None


def _parts(content: Any) -> list[Part]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [Part("text", content)]
    if isinstance(content, Mapping):
        return [_part(content)]
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        return [part for item in content for part in ([_part(item)] if isinstance(item, Mapping) else _parts(item))]
    return [Part("other", value=content)]


def _part(value: Mapping[str, Any]) -> Part:
    kind = str(value.get("type") or "").replace("-", "_").lower()
    nested = {
        "function_call": "tool_call",
        "functionCall": "tool_call",
        "function_response": "tool_result",
        "functionResponse": "tool_result",
    }
    for name, what in nested.items():
        if isinstance(inner := value.get(name), Mapping):
            return _call(inner) if what == "tool_call" else _result(inner)
    if kind in ("tool_call", "tool_use", "function_call", "function"):
        return _call(value)
    if kind in ("tool_call_response", "tool_result", "function_call_output"):
        return _result(value)
    text = next((value[name] for name in ("text", "content", "thinking", "reasoning", "message") if isinstance(value.get(name), str)), None)
    if kind in ("reasoning", "thinking"):
        return Part("reasoning", text or "")
    if text is not None and kind in ("", "text", "input_text", "output_text"):
        return Part("text", text)
    return Part("other", value=value)


def _call(value: Mapping[str, Any]) -> Part:
    function = value.get("function")
    own: Mapping[str, Any] = {**value, **function} if isinstance(function, Mapping) else value
    name = next((own[key] for key in ("name", "toolName", "tool_name") if own.get(key)), "")
    arguments = next((own[key] for key in ("arguments", "args", "input") if own.get(key) is not None), None)
    call_id = next((value[key] for key in ("id", "toolCallId", "tool_call_id", "call_id") if value.get(key)), "")
    return Part("tool_call", "", str(name), str(call_id), _read(arguments))


def _result(value: Mapping[str, Any]) -> Part:
    answer = next((value[key] for key in ("response", "result", "content", "output") if value.get(key) is not None), "")
    call_id = next((value[key] for key in ("id", "toolCallId", "tool_call_id", "tool_use_id", "call_id") if value.get(key)), "")
    name = next((value[key] for key in ("name", "toolName", "tool_name") if value.get(key)), "")
    # An attribute can hold bytes, which JSON cannot.
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)
    return Part("tool_result", text, str(name), str(call_id))


class Conversation:
    """Joins the calls of a session into one conversation: messages that a call repeats from earlier calls are left out."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}
        self._answers: set[str] = set()

    def add(self, call: CallMessages) -> list[Message]:
        """The new messages of the next call: input that was not shown before, and output.

        If a call's input contains no answer of an earlier call, it carries no history; then only its system prompt can be a repetition.
        """
        texts = [_text_of(message) for message in call.input]
        carries = not self._answers or any(text in self._answers for text in texts)
        seen: dict[str, int] = {}
        new = []
        for message, text in zip(call.input, texts, strict=True):
            seen[text] = seen.get(text, 0) + 1
            # Messages are counted, not only remembered: somebody who says "yes" twice has sent two messages.
            if seen[text] > self._shown.get(text, 0) or not (carries or message.role == "system"):
                new.append(message)
                self._shown[text] = self._shown.get(text, 0) + 1
        for message in call.output:
            text = _text_of(message)
            self._shown[text] = self._shown.get(text, 0) + 1
            self._answers.add(text)
        return [*new, *call.output]


def _text_of(message: Message) -> str:
    """A text that identifies a message: its role and the content of its parts."""
    return json.dumps(
        [message.role, [[part.kind, part.text.strip(), part.name, part.arguments, part.value] for part in message.parts]],
        sort_keys=True,
        default=str,
        ensure_ascii=False,
    )
