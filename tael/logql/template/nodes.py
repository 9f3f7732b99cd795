"""The nodes of a template. ``pos`` is an offset into its text; ``source`` is the node's text in error messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tael.syntax.literals import quoted


@dataclass(frozen=True, slots=True)
class Literal:
    """``"text"``, ``1``, ``1.5``, ``true`` or ``nil``."""

    value: str | int | float | bool | None
    pos: int
    source: str


@dataclass(frozen=True, slots=True)
class Field:
    """``.a.b``, ``$x.a`` or ``(…).a``: ``of`` is the operand whose fields these are, None for the dot; without ``names`` it is the operand
    itself.
    """

    of: Operand | None
    names: tuple[str, ...]
    pos: int
    source: str


@dataclass(frozen=True, slots=True)
class Variable:
    """``$x``; ``$`` is the template's data."""

    name: str
    pos: int
    source: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function's name."""

    name: str
    pos: int
    source: str


@dataclass(frozen=True, slots=True)
class Command:
    """``function arg arg``, or one operand."""

    operands: tuple[Operand, ...]
    pos: int

    @property
    def source(self) -> str:
        """As error messages have it."""
        return " ".join(operand.source for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Pipe:
    """``$x, $y := command | command``; ``assign`` says that it is ``=`` and not ``:=``."""

    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    assign: bool = False
    pos: int = 0

    @property
    def source(self) -> str:
        """As error messages have it."""
        return "(" + " | ".join(command.source for command in self.commands) + ")"


@dataclass(frozen=True, slots=True)
class Text:
    """Text outside the braces."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """``{{pipe}}``."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """``{{if pipe}}body{{else}}otherwise{{end}}``, also ``with`` and ``range``."""

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Leave:
    """``{{break}}`` or ``{{continue}}``."""

    kind: str


@dataclass(frozen=True, slots=True)
class Call:
    """``{{template "name" pipe}}``; without a pipe the template is given nothing."""

    name: str
    pipe: Pipe | None
    pos: int

    @property
    def source(self) -> str:
        """As error messages have it."""
        given = self.pipe.source[1:-1] if self.pipe else ""
        return f"{{{{template {quoted(self.name)}{' ' if given else ''}{given}}}}}"


Operand: TypeAlias = "Literal | Field | Variable | Function | Pipe"
Node: TypeAlias = "Text | Action | Branch | Leave | Call"
Nodes: TypeAlias = "tuple[Node, ...]"
