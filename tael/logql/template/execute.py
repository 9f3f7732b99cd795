"""Runs a parsed template over one row's labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tael.logql.template.bounds import MAX_CHARACTERS, MAX_WORK, STEP_WORK, characters_of, require_room
from tael.logql.template.errors import CallError, TemplateError
from tael.logql.template.functions import FUNCTIONS, TemplateFunction
from tael.logql.template.go_time import METHODS, GoTime
from tael.logql.template.nodes import (
    Action,
    Branch,
    Call,
    Command,
    Field,
    Function,
    Leave,
    Literal,
    Node,
    Nodes,
    Operand,
    Pipe,
    Text,
    Variable,
)
from tael.logql.template.values import Value, shown, truth, type_name
from tael.model.json_text import encodable
from tael.syntax.literals import quoted

LAZY: Final = ("and", "or")
CONTEXT: Final = ("__line__", "__timestamp__", "now")
MAX_CALLS: Final = 50
"""Templates that run inside each other; Go allows 100,000, but what is meant to end ends sooner."""
_KINDS: Final[dict[str, tuple[type, ...]]] = {"s": (str,), "i": (int,), "t": (GoTime,)}
_WORDS: Final = {"s": "string", "i": "int", "t": "time.Time"}


class _Left(Exception):
    """Raised to leave a loop by ``break`` or ``continue``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(kind)


@dataclass(slots=True)
class Execution:
    """One run of a template; ``name`` and ``text`` are for error messages."""

    name: str
    text: str
    fields: dict[str, str]
    line: str
    timestamp_ns: int
    now_ns: int
    templates: Mapping[str, Nodes] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)
    _labels: Value = None
    _variables: list[tuple[str, Value]] = field(default_factory=list)
    _out: list[str] = field(default_factory=list)
    _size: int = 0
    _work: int = 0

    def run(self, nodes: Nodes) -> str:
        """Run the nodes and return the resulting text. Raises TemplateError."""
        data: Value = dict(self.fields)
        self._labels, self._variables, self._running = data, [("$", data)], [self.name]
        try:
            self._all(nodes, data)
        except RecursionError:
            # fromJson may have read a value as deep as the stack allows, and showing it needs a little more.
            raise TemplateError(f"template: {self.name}: a value is nested too deep") from None
        made = "".join(self._out)
        # fromJson and printf's %c can make lone surrogates, which UTF-8 and so an answer cannot hold; Go has U+FFFD there.
        return encodable(made)

    def _write(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_CHARACTERS:
            raise TemplateError(f"template: {self.name}: the result is longer than {MAX_CHARACTERS} characters")
        self._out.append(text)

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            raise TemplateError(f"template: {self.name}: it takes too many steps for one line")

    def _all(self, nodes: Nodes, dot: Value) -> None:
        for node in nodes:
            self._spend(STEP_WORK)
            self._one(node, dot)

    def _one(self, node: Node, dot: Value) -> None:
        if isinstance(node, Text):
            self._write(node.text)
        elif isinstance(node, Action):
            value = self._pipe(node.pipe, dot)
            if not node.pipe.variables:
                self._write("<no value>" if value is None else shown(value))
        elif isinstance(node, Leave):
            raise _Left(node.kind)
        elif isinstance(node, Call):
            self._template(node, dot)
        else:
            self._branch(node, dot)

    def _template(self, node: Call, dot: Value) -> None:
        nodes = self.templates.get(node.name)
        if nodes is None:
            raise self._error(node, f"template {quoted(node.name)} not defined")
        if len(self._running) > MAX_CALLS:
            raise self._error(node, f"exceeded maximum template depth ({MAX_CALLS})")
        given = None if node.pipe is None else self._pipe(node.pipe, dot)
        variables, self._variables = self._variables, [("$", given)]
        self._running.append(node.name)
        self._all(nodes, given)
        self._running.pop()
        self._variables = variables

    def _branch(self, node: Branch, dot: Value) -> None:
        depth = len(self._variables)
        if node.kind == "range":
            self._range(node, dot)
        else:
            value = self._pipe(node.pipe, dot)
            taken = truth(value)
            inner = value if node.kind == "with" and taken else dot
            self._all(node.body if taken else node.otherwise, inner)
        del self._variables[depth:]

    def _range(self, node: Branch, dot: Value) -> None:
        value = self._pipe(Pipe(node.pipe.commands, pos=node.pipe.pos), dot)
        empty = True
        for key, entry in self._entries(value, node.pipe):
            empty = False
            self._spend(STEP_WORK)
            depth = len(self._variables)
            self._bind(node.pipe, key, entry)
            try:
                self._all(node.body, entry)
            except _Left as left:
                if left.kind == "break":
                    break
            finally:
                del self._variables[depth:]
        if empty:
            self._all(node.otherwise, dot)

    def _entries(self, value: Value, pipe: Pipe) -> Iterator[tuple[Value, Value]]:
        if isinstance(value, list):
            yield from enumerate(value)
        elif isinstance(value, dict):
            yield from ((key, value[key]) for key in sorted(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            # At most as many rounds as the output may have characters: a number in a label must not decide how long we run.
            yield from ((number, number) for number in range(min(value, MAX_CHARACTERS)))
        elif value is not None:
            raise self._error(pipe.commands[0], f"range can't iterate over {shown(value)}")

    def _bind(self, pipe: Pipe, key: Value, entry: Value) -> None:
        values = (entry,) if len(pipe.variables) == 1 else (key, entry)
        for name, value in zip(pipe.variables, values, strict=False):
            self._set(name, value, assign=pipe.assign)

    def _set(self, name: str, value: Value, *, assign: bool) -> None:
        if assign:
            for place in range(len(self._variables) - 1, -1, -1):
                if self._variables[place][0] == name:
                    self._variables[place] = (name, value)
                    return
        self._variables.append((name, value))

    def _pipe(self, pipe: Pipe, dot: Value) -> Value:
        value: Value = None
        for place, command in enumerate(pipe.commands):
            value = self._command(command, dot, (value,) if place else ())
        for name in pipe.variables:
            self._set(name, value, assign=pipe.assign)
        return value

    def _command(self, command: Command, dot: Value, final: tuple[Value, ...]) -> Value:
        first = command.operands[0]
        if isinstance(first, Function):
            return self._call(first, command, dot, final)
        if isinstance(first, Field) and first.names and (len(command.operands) > 1 or final):
            return self._member(first, command, dot, final)
        if len(command.operands) > 1 or final:
            raise self._error(first, f"can't give argument to non-function {first.source}")
        if isinstance(first, Literal) and first.value is None:
            raise self._error(command, "nil is not a command")
        return self._value(first, dot)

    def _value(self, operand: Operand, dot: Value) -> Value:
        if isinstance(operand, Literal):
            return operand.value
        # The parser has checked that variables are declared; the innermost declaration counts.
        if isinstance(operand, Variable):
            return next(value for name, value in reversed(self._variables) if name == operand.name)
        if isinstance(operand, Pipe):
            return self._pipe(operand, dot)
        if isinstance(operand, Function):
            return self._call(operand, Command((operand,), operand.pos), dot, ())
        value = dot if operand.of is None else self._value(operand.of, dot)
        if value is None and isinstance(operand.of, Pipe):
            # Of nothing at all every field is nothing; of a nil within a value it is an error.
            return None
        for name in operand.names:
            value = self._field(operand, value, name)
        return value

    def _member(self, node: Field, command: Command, dot: Value, final: tuple[Value, ...]) -> Value:
        """A field, or a time's method with its arguments."""
        *names, name = node.names
        owner = self._value(Field(node.of, tuple(names), node.pos, node.source), dot)
        given = [self._value(operand, dot) for operand in command.operands[1:]] + list(final)
        if isinstance(owner, GoTime) and name in METHODS:
            takes, call = METHODS[name]
            if len(given) != len(takes):
                raise self._error(node, f"wrong number of args for {name}: want {len(takes)} got {len(given)}")
            for value, kind in zip(given, takes, strict=True):
                self._typed(node, value, kind)
            return call(owner, *given)
        raise self._error(node, f"{name} is not a method but has arguments")

    def _field(self, node: Field, value: Value, name: str) -> Value:
        if isinstance(value, dict):
            # A missing label is the empty string, because labels are a map of strings; a missing key of any other map is nil.
            return value.get(name, "" if value is self._labels else None)
        if isinstance(value, GoTime) and name in METHODS and not METHODS[name][0]:
            return METHODS[name][1](value)
        if value is None:
            raise self._error(node, f"nil pointer evaluating interface {{}}.{name}")
        raise self._error(node, f"can't evaluate field {name} in type {type_name(value)}")

    def _call(self, function: Function, command: Command, dot: Value, final: tuple[Value, ...]) -> Value:
        operands = command.operands[1:]
        if function.name in LAZY:
            return self._lazy(function, operands, dot, final)
        if function.name == "call":
            self._counted(function, 1, len(operands) + len(final))
            called = self._value(operands[0], dot) if operands else final[0]
            raise self._error(
                command, f"error calling call: non-function {operands[0].source if operands else ''} of type {type_name(called)}"
            )
        if function.name in CONTEXT:
            self._counted(function, 0, len(operands) + len(final))
            return self._context(function.name)
        known = FUNCTIONS[function.name]
        self._arity(function, known, len(operands) + len(final))
        values = [self._argument(operand, dot, _kind(known.takes, place)) for place, operand in enumerate(operands)]
        for value in final:
            self._typed(operands[-1] if operands else function, value, _kind(known.takes, len(values)))
            values.append(value)
        if function.name == "date" and not isinstance(values[1], GoTime | int):
            values[1] = GoTime(self.now_ns)
        try:
            made = known.call(*values)
            require_room(characters_of(made), *values)
        except (CallError, ValueError, OverflowError) as problem:
            raise self._error(command, f"error calling {function.name}: {problem}") from None
        self._spend(STEP_WORK + characters_of(made) + sum(map(characters_of, values)))
        return made

    def _context(self, name: str) -> Value:
        return self.line if name == "__line__" else GoTime(self.timestamp_ns if name == "__timestamp__" else self.now_ns)

    def _lazy(self, function: Function, operands: tuple[Operand, ...], dot: Value, final: tuple[Value, ...]) -> Value:
        """``and`` stops at the first false value, ``or`` at the first true one."""
        value: Value = None
        if not operands and not final:
            raise self._error(function, f"wrong number of args for {function.name}: want at least 1 got 0")
        for operand in operands:
            value = self._value(operand, dot)
            if truth(value) == (function.name == "or"):
                return value
        return final[0] if final else value

    def _arity(self, function: Function, known: TemplateFunction, given: int) -> None:
        fixed = len(known.takes) - 2 if known.takes.endswith("*") else len(known.takes)
        if known.takes.endswith("*"):
            if given < fixed:
                raise self._error(function, f"wrong number of args for {function.name}: want at least {fixed} got {given}")
        else:
            self._counted(function, fixed, given)

    def _counted(self, function: Function, wanted: int, given: int) -> None:
        if wanted != given:
            raise self._error(function, f"wrong number of args for {function.name}: want {wanted} got {given}")

    def _argument(self, operand: Operand, dot: Value, kind: str) -> Value:
        value = self._value(operand, dot)
        if isinstance(operand, Literal) and kind in ("s", "i") and not isinstance(value, _KINDS[kind]):
            expected = "string" if kind == "s" else "integer"
            raise self._error(operand, f"expected {expected}; found {operand.source}")
        self._typed(operand, value, kind)
        return value

    def _typed(self, node: Operand | Command, value: Value, kind: str) -> None:
        if kind in _KINDS and (not isinstance(value, _KINDS[kind]) or (kind == "i" and isinstance(value, bool))):
            if value is None:
                raise self._error(node, f"invalid value; expected {_WORDS[kind]}")
            raise self._error(node, f"wrong type for value; expected {_WORDS[kind]}; got {type_name(value)}")

    def _error(self, node: Operand | Command | Call, problem: str) -> TemplateError:
        before = self.text[: node.pos]
        line, column = before.count("\n") + 1, len(before[before.rfind("\n") + 1 :].encode())
        return TemplateError(f"template: {self.name}:{line}:{column}: executing {quoted(self._running[-1])} at <{node.source}>: {problem}")


def _kind(takes: str, place: int) -> str:
    kinds = takes.removesuffix("*")
    return kinds[min(place, len(kinds) - 1)]
