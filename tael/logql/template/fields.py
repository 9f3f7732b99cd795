"""The labels that a template reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tael.logql.template.nodes import Action, Branch, Call, Field, Node, Operand, Pipe


def fields_of(nodes: Iterable[Node]) -> list[str]:
    """The distinct names, in the order in which they are read."""
    return list(dict.fromkeys(name for node in nodes for name in _of_node(node)))


def _of_node(node: Node) -> Iterator[str]:
    if isinstance(node, Action):
        yield from _of_pipe(node.pipe)
    elif isinstance(node, Call):
        yield from _of_pipe(node.pipe) if node.pipe else ()
    elif isinstance(node, Branch):
        yield from _of_pipe(node.pipe)
        for inner in (*node.body, *node.otherwise):
            yield from _of_node(inner)


def _of_pipe(pipe: Pipe) -> Iterator[str]:
    for command in pipe.commands:
        for operand in command.operands:
            yield from _of_operand(operand)


def _of_operand(operand: Operand) -> Iterator[str]:
    if isinstance(operand, Field):
        yield from operand.names
    elif isinstance(operand, Pipe):
        yield from _of_pipe(operand)
