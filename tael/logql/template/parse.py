"""The parser of Go templates: text, actions, ``if``, ``with``, ``range``, ``define``, ``block``, ``template``, variables and pipelines."""

from __future__ import annotations

from collections.abc import Collection

from tael.logql.template.errors import TemplateError
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
from tael.logql.template.scan import Part, Token, parts
from tael.syntax.literals import quoted, unquoted

_BRANCHES = ("if", "with", "range")
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_TEMPLATES = ("define", "template", "block")
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
        self._defined: dict[str, Nodes] = {}

    def parse(self) -> tuple[Nodes, dict[str, Nodes]]:
        """The nodes of the whole template, and those of the templates that it defines."""
        nodes, ended = self._list()
        if ended:
            raise self._fail(f"unexpected {{{{{ended}}}}}")
        return nodes, self._defined

    def _list(self) -> tuple[Nodes, str]:
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
            node = self._node(word)
            nodes.extend([node] if node else [])
        self._depth -= 1
        return tuple(nodes), ""

    def _open(self, part: Part) -> str:
        self._tokens, self._at = part.tokens or [], 0
        self._skip()
        word = self._peek()
        if word.kind == "word" and word.text in (*_BRANCHES, *_TEMPLATES, "end", "else", "break", "continue"):
            self._at += 1
            self._skip()
            return word.text
        return ""

    def _node(self, word: str) -> Node | None:
        if word in _BRANCHES:
            return self._branch(word)
        if word in ("break", "continue"):
            if not self._loops:
                raise self._fail(f"{{{{{word}}}}} outside {{{{range}}}}")
            self._end()
            return Leave(word)
        if word in _TEMPLATES:
            return self._template_node(word)
        return Action(self._pipe("command"))

    def _template_node(self, word: str) -> Call | None:
        if word == "define" and self._depth > 1:
            raise self._fail("unexpected <define> in command")
        pos, name = self._peek().pos, self._quoted_name(f"{word} clause")
        if word == "define":
            self._end()
            self._define(name)
            return None
        pipe = None if word == "template" and self._peek().kind == "end" else self._pipe(f"{word} clause")
        if word == "block":
            self._define(name)
        return Call(name, pipe, pos)

    def _quoted_name(self, context: str) -> str:
        token = self._peek()
        if token.kind != "string":
            raise self._unexpected(token, context)
        self._at += 1
        self._skip()
        return unquoted(token.text)

    def _define(self, name: str) -> None:
        """The body of a template up to its ``end``; it knows neither the variables nor the loops around it."""
        variables, loops, self._variables, self._loops = self._variables, self._loops, ["$"], 0
        nodes, ended = self._list()
        self._variables, self._loops = variables, loops
        if ended != "end":
            raise self._fail(f"unexpected {{{{{ended}}}}} in define clause" if ended else "unexpected EOF")
        if _written(self._defined.get(name, ())) and _written(nodes):
            raise self._fail(f"template: multiple definition of template {quoted(name)}")
        if _written(nodes) or name not in self._defined:
            self._defined[name] = nodes

    def _branch(self, kind: str) -> Branch:
        depth = len(self._variables)
        pipe = self._pipe(kind)
        self._loops += kind == "range"
        body, ended = self._list()
        self._loops -= kind == "range"
        otherwise: Nodes = ()
        if ended == "else":
            otherwise, ended = self._otherwise(kind)
        if ended != "end":
            raise self._fail("unexpected EOF")
        del self._variables[depth:]
        return Branch(kind, pipe, body, otherwise)

    def _otherwise(self, kind: str) -> tuple[Nodes, str]:
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
        chained = self._peek()
        names = []
        while self._peek().kind == "field":
            names.append(self._peek().text[1:])
            self._at += 1
        if not names:
            return found
        if isinstance(found, Literal):
            raise self._fail(f"unexpected . after term {found.source!r}")
        source = found.source + "".join(f".{name}" for name in names)
        if isinstance(found, Field) and found.names:
            return Field(found.of, (*found.names, *names), chained.pos, source)
        return Field(found, tuple(names), chained.pos, source)

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


def _written(nodes: Nodes) -> bool:
    """Whether a template holds more than white space: one that does not may be defined again."""
    return any(not isinstance(node, Text) or node.text.strip() for node in nodes)


def number(text: str) -> int | float:
    """A number literal of Go. Raises ValueError."""
    plain = text.replace("_", "")
    try:
        return int(plain, 0)
    except ValueError:
        return int(plain, 8) if plain.lstrip("+-").isdigit() else float(plain)
