"""Go's ``text/template`` with Loki's functions."""

from __future__ import annotations

from tael.logql.template.errors import TemplateError
from tael.logql.template.execute import CONTEXT, LAZY, Execution
from tael.logql.template.fields import fields_of
from tael.logql.template.functions import FUNCTIONS
from tael.logql.template.nodes import Action, Field
from tael.logql.template.parse import Parser

_NAMES = frozenset((*FUNCTIONS, *LAZY, *CONTEXT, "call"))


class Template:
    """A parsed template. Raises TemplateError for an invalid one; ``now_ns`` is the value of ``now``."""

    def __init__(self, name: str, text: str, now_ns: int) -> None:
        self._name, self._text, self._now_ns = name, text, now_ns
        self._nodes, defined = Parser(name, text, _NAMES).parse()
        self._templates = {name: self._nodes, **defined}

    def execute(self, fields: dict[str, str], line: str, timestamp_ns: int) -> str:
        """The text that the template makes of a row. Raises TemplateError."""
        return Execution(self._name, self._text, fields, line, timestamp_ns, self._now_ns, self._templates).run(self._nodes)

    def fields(self) -> list[str]:
        """The labels that it reads."""
        return fields_of(node for nodes in self._templates.values() for node in nodes)

    def single_field(self) -> str:
        """The label, if the whole template is just that label (``{{.label}}``), else ""."""
        if len(self._nodes) != 1 or not isinstance(self._nodes[0], Action) or self._nodes[0].pipe.variables:
            return ""
        commands = self._nodes[0].pipe.commands
        operand = commands[0].operands[0]
        alone = len(commands) == 1 and len(commands[0].operands) == 1
        return operand.names[0] if alone and isinstance(operand, Field) and operand.of is None and len(operand.names) == 1 else ""


__all__ = ["Template", "TemplateError"]
