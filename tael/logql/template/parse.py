"""The parser of Go templates: text, actions, ``if``, ``with``, ``range``, variables and pipelines."""

from __future__ import annotations

from collections.abc import Collection

from tael.logql.template.errors import TemplateError
from tael.logql.template.nodes import Action, Branch, Command, Field, Function, Leave, Literal, Node, Operand, Pipe, Text, Variable
from tael.logql.template.scan import Part, Token, parts
from tael.syntax.literals import unquoted

_BRANCHES = ("if", "with", "range")
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_UNSUPPORTED = ("define", "template", "block")
MAX_DEPTH = 100


class Parser:
    """Parses ``template``, which errors call ``name``. Raises TemplateError."""

    def __init__(self, name: str, template: str, functions: Collection[str]) -> None:
        self._name, self._template, self._functions = name, template, functions
        self._parts = parts(name, template)
        self._part = 0
        self._tokens: list[Token] = []
        self._at = 0
        self._variables = ["$"]
        self._loops = self._depth = 0

    def parse(self) -> tuple[Node, ...]:
        """The nodes of the whole template."""
        nodes, ended = self._list()
        if ended:
            raise self._fail(f"unexpected {{{{{ended}}}}}")
        return nodes

    def _list(self) -> tuple[tuple[Node, ...], str]:
        """Nodes up to ``end`` or ``else``, and which of them it was; "" at the end of the template."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._fail("max expression depth exceeded")
        nodes: list[Node] = []
        while self._part < len(self._parts):
            part = self._parts[self._part]
            self._part += 1
            if part.tokens is None:
                nodes.extend([Text(part.text)] if part.text else [])
                continue
            word = self._open(part)
            if word in ("end", "else"):
                self._depth -= 1
                return tuple(nodes), word
            nodes.append(self._node(word))
        self._depth -= 1
        return tuple(nodes), ""

    def _open(self, part: Part) -> str:
        self._tokens, self._at = part.tokens or [], 0
        self._skip()
        word = self._peek()
        if word.kind == "word" and word.text in (*_BRANCHES, *_UNSUPPORTED, "end", "else", "break", "continue"):
            self._at += 1
            self._skip()
            return word.text
        return ""

    def _node(self, word: str) -> Node:
        if word in _BRANCHES:
            return self._branch(word)
        if word in ("break", "continue"):
            if not self._loops:
                raise self._fail(f"{{{{{word}}}}} outside {{{{range}}}}")
            self._end()
            return Leave(word)
        if word in _UNSUPPORTED:
            raise self._fail(f"unexpected {{{{{word}}}}}: a line's template stands by itself")
        return Action(self._pipe("command"))

    def _branch(self, kind: str) -> Branch:
        depth = len(self._variables)
        pipe = self._pipe(kind)
        self._loops += kind == "range"
        body, ended = self._list()
        self._loops -= kind == "range"
        otherwise: tuple[Node, ...] = ()
        if ended == "else":
            otherwise, ended = self._otherwise(kind)
        if ended != "end":
            raise self._fail("unexpected EOF")
        del self._variables[depth:]
        return Branch(kind, pipe, body, otherwise)

    def _otherwise(self, kind: str) -> tuple[tuple[Node, ...], str]:
        if self._peek().kind == "word" and self._peek().text == kind and kind != "range":
            self._at += 1
            self._skip()
            return (self._branch(kind),), "end"
        self._end()
        nodes, ended = self._list()
        if ended == "else":
            raise self._fail("expected end; found {{else}}")
        return nodes, ended

    def _pipe(self, context: str, closing: str = "end") -> Pipe:
        pos = self._peek().pos
        variables, assign = self._declared(context)
        commands: list[Command] = []
        while True:
            token = self._peek()
            if token.kind == closing or (closing == ")" and token.text == ")"):
                self._at += 1
                break
            if token.text == "|" and token.kind == "symbol" and commands:
                self._at += 1
                self._skip()
                continue
            commands.append(self._command(context))
        if not commands:
            raise self._fail(f"missing value for {context}")
        self._checked(commands)
        return Pipe(tuple(commands), variables, assign, pos)

    def _checked(self, commands: list[Command]) -> None:
        for place, command in enumerate(commands[1:], 2):
            if isinstance(command.operands[0], Literal):
                raise self._fail(f"non executable command in pipeline stage {place}")

    def _declared(self, context: str) -> tuple[tuple[str, ...], bool]:
        """``$x :=``, ``$x =`` and, for a range, ``$i, $x :=``."""
        start, names = self._at, []
        while self._peek().kind == "variable":
            names.append(self._peek().text)
            self._at += 1
            self._skip()
            operator = self._peek().text
            if operator in (":=", "="):
                self._at += 1
                self._skip()
                if operator == ":=":
                    self._variables.extend(names)
                return tuple(names), operator == "="
            if operator != "," or context != "range" or len(names) == 2:
                break
            self._at += 1
            self._skip()
        self._at = start
        return (), False

    def _command(self, context: str) -> Command:
        pos, operands = self._peek().pos, []
        while True:
            operands.append(self._operand(context))
            spaced = self._skip()
            token = self._peek()
            if token.kind == "end" or token.text in ("|", ")"):
                return Command(tuple(operands), pos)
            if not spaced:
                raise self._unexpected(token, "operand")

    def _operand(self, context: str) -> Operand:
        token = self._peek()
        self._at += 1
        found = self._simple(token, context)
        names = []
        while self._peek().kind == "field":
            names.append(self._peek().text[1:])
            self._at += 1
        if not names:
            return found
        if isinstance(found, Literal | Function):
            raise self._fail(f"unexpected . after term {found.source!r}")
        source = found.source + "".join(f".{name}" for name in names)
        if isinstance(found, Field) and found.names:
            return Field(found.of, (*found.names, *names), found.pos, source)
        return Field(found, tuple(names), found.pos, source)

    def _simple(self, token: Token, context: str) -> Operand:
        if token.kind == "word":
            return self._word(token)
        if token.kind == "field":
            return Field(None, (token.text[1:],), token.pos, token.text)
        if token.kind == "variable":
            if token.text not in self._variables:
                raise self._fail(f'undefined variable "{token.text}"')
            return Variable(token.text, token.pos, token.text)
        if token.kind in ("string", "char", "number"):
            return self._literal(token)
        if token.text == ".":
            return Field(None, (), token.pos, ".")
        if token.text == "(":
            self._skip()
            return self._pipe("parenthesized pipeline", ")")
        raise self._unexpected(token, context)

    def _word(self, token: Token) -> Operand:
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text], token.pos, token.text)
        if token.text not in self._functions:
            raise self._fail(f'function "{token.text}" not defined')
        return Function(token.text, token.pos, token.text)

    def _literal(self, token: Token) -> Literal:
        try:
            value = (
                ord(unquoted(token.text))
                if token.kind == "char"
                else unquoted(token.text)
                if token.kind == "string"
                else number(token.text)
            )
        except (ValueError, TypeError):
            raise self._fail(f"bad {token.kind} syntax: {token.text!r}") from None
        return Literal(value, token.pos, token.text)

    def _peek(self) -> Token:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    def _skip(self) -> bool:
        spaced = self._peek().kind == "space"
        self._at += spaced
        return spaced

    def _end(self) -> None:
        if self._peek().kind != "end":
            raise self._unexpected(self._peek(), "action")

    def _unexpected(self, token: Token, context: str) -> TemplateError:
        shown = "}}" if token.kind == "end" else token.text
        if token.kind == "end" and context in ("if", "with", "range", "command", "parenthesized pipeline"):
            return self._fail(f"missing value for {context}")
        return self._fail(f'unexpected "{shown}" in {context}')

    def _fail(self, problem: str) -> TemplateError:
        at = self._peek().pos if self._tokens else 0
        line = self._template.count("\n", 0, at) + 1
        return TemplateError(f"template: {self._name}:{line}: {problem}")


def number(text: str) -> int | float:
    """A number literal of Go. Raises ValueError."""
    plain = text.replace("_", "")
    try:
        return int(plain, 0)
    except ValueError:
        return int(plain, 8) if plain.lstrip("+-").isdigit() else float(plain)
