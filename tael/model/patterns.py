r"""RE2's regular expressions, as labels are matched with them: anchored at both ends, the dot also for line ends.

Python's ``re`` has nearly the same syntax; what differs is rewritten: flags in the middle (``a(?i)b``), ``\z``, ``\Q…\E``, ``\pL``, ``\x{…}``,
``[[:alpha:]]``, and ``$``, which in RE2 is the end of the text alone. What RE2 does not have (look-around, back references) is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tael.errors import Rejected

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}
_PROPERTIES = {"L": r"[^\W\d_]", "N": r"\d", "Lu": "[A-Z]", "Ll": "[a-z]", "P": r"[!-/:-@\[-`{-~]"}


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """``pattern`` for ``fullmatch``. Raises Rejected when it is no regular expression of RE2."""
    try:
        return re.compile(translated(pattern), re.DOTALL)
    except (re.error, OverflowError, RecursionError) as problem:
        raise Rejected(f"error parsing regexp: {problem}: `{pattern}`") from None


def translated(pattern: str) -> str:
    """The same expression in Python's syntax."""
    return _Translation(pattern).whole()


class _Translation:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._open: list[int] = [0]
        """For each open group, how many flag groups were opened inside it, which close with it."""

    def whole(self) -> str:
        parts = []
        while self._at < len(self._pattern):
            parts.append(self._next())
        return "".join(parts) + ")" * sum(self._open)

    def _next(self) -> str:
        character = self._pattern[self._at]
        if character == "\\":
            return self._escape()
        if character == "[":
            return self._bracket()
        self._at += 1
        if character == "(":
            return self._group()
        if character == ")":
            return ")" * (1 + (self._open.pop() if len(self._open) > 1 else 0))
        if character == "|" and self._open[-1]:
            return self._reopened()
        return r"\Z" if character == "$" else character

    def _group(self) -> str:
        rest = self._pattern[self._at :]
        if flags := re.match(r"\?([imsU]*)(-[imsU]+)?\)", rest):
            self._at += flags.end()
            inner = _flags(flags[1], flags[2])
            if not inner:
                return ""
            self._open[-1] += 1
            self._flags = inner
            return f"(?{inner}:"
        self._open.append(0)
        if flags := re.match(r"\?([imsU]*)(-[imsU]+)?:", rest):
            self._at += flags.end()
            return f"(?{_flags(flags[1], flags[2])}:"
        if named := re.match(r"\?P?<(\w+)>", rest):
            self._at += named.end()
            return f"(?P<{named[1]}>"
        if rest.startswith("?"):
            raise Rejected(f"error parsing regexp: invalid or unsupported Perl syntax: `({rest[:3]}`")
        return "("

    def _reopened(self) -> str:
        """``a(?i)b|c``: the flag also holds for the next alternative."""
        depth = self._open[-1]
        return ")" * depth + "|" + f"(?{self._flags}:" * depth

    def _escape(self) -> str:
        rest = self._pattern[self._at :]
        if rest.startswith(r"\Q"):
            literal, _, _ = rest[2:].partition(r"\E")
            self._at += min(len(rest), len(literal) + 4)
            return re.escape(literal)
        if rest.startswith(r"\z"):
            self._at += 2
            return r"\Z"
        if hexadecimal := re.match(r"\\x\{([0-9A-Fa-f]+)\}", rest):
            self._at += hexadecimal.end()
            return re.escape(chr(int(hexadecimal[1], 16)))
        if known := re.match(r"\\p(?:\{(\w+)\}|(\w))", rest):
            self._at += known.end()
            return _PROPERTIES.get(known[1] or known[2], r"[^\W\d_]")
        if rest[1:2].isdigit() and rest[1] != "0":
            raise Rejected(f"error parsing regexp: invalid escape sequence: `{rest[:2]}`")
        self._at += 2
        return rest[:2]

    def _bracket(self) -> str:
        end = self._at + (2 if self._pattern[self._at + 1 : self._at + 2] == "^" else 1)
        text = self._pattern[self._at : end]
        first = True
        while end < len(self._pattern) and (first or self._pattern[end] != "]"):
            first = False
            rest = self._pattern[end:]
            if posix := re.match(r"\[:(\w+):\]", rest):
                text += _CLASSES.get(posix[1], "")
                end += posix.end()
            elif rest[0] == "\\":
                text += rest[:2]
                end += 2
            else:
                text += "\\[" if rest[0] == "[" else rest[0]
                end += 1
        if end >= len(self._pattern):
            raise Rejected(f"error parsing regexp: missing closing ]: `{self._pattern[self._at :]}`")
        self._at = end + 1
        return text + "]"


def _flags(on: str, off: str | None) -> str:
    kept_on, kept_off = on.replace("U", ""), (off or "").replace("U", "")
    return kept_on + (kept_off if len(kept_off) > 1 else "")
