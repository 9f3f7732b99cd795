"""A template's text and the tokens of its actions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tael.logql.template.errors import TemplateError

_SPACES: Final = " \t\r\n"
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?!\w))|(?P<field>\.[^\W\d]\w*)"""
    r"""|(?P<variable>\$\w*)|(?P<word>[^\W\d]\w*)|(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<char>'(?:[^'\\\n]|\\.)+')|(?P<symbol>:=|[.|(),=])"""
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an action; ``kind`` is a name of ``_TOKEN``'s groups, or ``end``."""

    kind: str
    text: str
    pos: int


@dataclass(frozen=True, slots=True)
class Part:
    """Text, or an action's tokens (then ``tokens`` is not None)."""

    text: str
    tokens: list[Token] | None
    pos: int


def parts(name: str, template: str) -> list[Part]:
    """The parts of a template, with the white space removed that ``{{-`` and ``-}}`` trim. Raises TemplateError."""
    found: list[Part] = []
    at, trim = 0, False
    while at <= len(template):
        start = template.find("{{", at)
        text = template[at:] if start < 0 else template[at:start]
        text = text.lstrip(_SPACES) if trim else text
        if start < 0:
            found.append(Part(text, None, at))
            return found
        trims_left = template[start + 2 : start + 3] == "-" and template[start + 3 : start + 4] in tuple(_SPACES)
        found.append(Part(text.rstrip(_SPACES) if trims_left else text, None, at))
        inside = start + (3 if trims_left else 2)
        comment = _comment_end(name, template, inside)
        if comment is None:
            tokens, at, trim = _action(name, template, inside)
            found.append(Part("", tokens, start))
        else:
            at, trim = comment
    return found


def _comment_end(name: str, template: str, at: int) -> tuple[int, bool] | None:
    begin = at + (len(template[at:]) - len(template[at:].lstrip(_SPACES)))
    if not template.startswith("/*", begin):
        return None
    close = template.find("*/", begin + 2)
    if close < 0:
        raise _fail(name, template, at, "unclosed comment")
    end = re.compile(r"(\s+-)?\s*\}\}").match(template, close + 2)
    if end is None:
        raise _fail(name, template, at, "comment ends before closing delimiter")
    return end.end(), end[1] is not None


def _action(name: str, template: str, at: int) -> tuple[list[Token], int, bool]:
    tokens: list[Token] = []
    while True:
        if template.startswith("}}", at):
            return [*tokens, Token("end", "}}", at)], at + 2, False
        if template.startswith("-}}", at) and tokens and tokens[-1].kind == "space":
            return [*tokens, Token("end", "}}", at)], at + 3, True
        if at >= len(template):
            raise _fail(name, template, at, "unclosed action")
        token = _TOKEN.match(template, at)
        if token is None:
            problem = "unterminated quoted string" if template[at] in "\"`'" else f"unexpected {template[at]!r} in command"
            raise _fail(name, template, at, problem)
        tokens.append(Token(str(token.lastgroup), token[0], at))
        at = token.end()


def _fail(name: str, template: str, at: int, problem: str) -> TemplateError:
    line = template.count("\n", 0, at) + 1
    return TemplateError(f"template: {name}:{line}: {problem}")
