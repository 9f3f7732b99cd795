"""``printf`` with Go's verbs and flags, for the values of templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tael.logql.template.bounds import require_room, require_room_for
from tael.logql.template.values import Value, go_g, shown, type_name
from tael.syntax.literals import quoted

_INDEX: Final = r"\[[^\]]*\]|\["
_PARTS: Final = re.compile(
    rf"%(?P<flags>[-+# 0]*)(?P<at>{_INDEX})?(?P<width>\*|\d*)"
    rf"(?:(?P<dot>\.)(?P<precision_at>{_INDEX})?(?P<precision>\*|\d*))?(?P<verb_at>{_INDEX})?(?P<verb>.?)",
    re.DOTALL,
)
_MOST: Final = 1_000_000


def sprintf(layout: str, *values: Value) -> str:
    """``layout`` with the values in place of its verbs; a mismatch is written as ``%!d(string=x)``, as in Go."""
    arguments, size = _Arguments(values), 0
    large = next((found for found in _PARTS.finditer(layout) if _too_large(found["width"]) or _too_large(found["precision"])), None)
    layout, end = (layout, "") if large is None else (layout[: large.start()], "%!(NOVERB)")

    def written(found: re.Match[str]) -> str:
        nonlocal size
        text = _part(found, arguments)
        size += len(text)
        require_room(size, *values)
        return text

    text = _PARTS.sub(written, layout) + end
    left = () if arguments.reordered else values[arguments.place :]
    if left:
        require_room_for(*left)
        text += "%!(EXTRA " + ", ".join(f"{type_name(value)}={shown(value)}" for value in left) + ")"
    return text


class _Arguments:
    """The values, and the place of the next one; ``[n]`` in a layout moves it."""

    def __init__(self, values: Sequence[Value]) -> None:
        self.values, self.place = values, 0
        self.reordered, self.valid = False, True

    def move(self, index: str | None) -> None:
        """Continue with the value that ``[n]`` names, from 1."""
        if index is None:
            return
        self.reordered = True
        digits = index[1:-1] if index.endswith("]") else ""
        number = int(digits) if re.fullmatch(r"[0-9]{1,7}", digits) else 0
        self.valid = self.valid and 1 <= number <= len(self.values)
        if self.valid:
            self.place = number - 1

    def next(self) -> Value:
        """The next value. Raises LookupError after the last."""
        value = self.values[self.place]
        self.place += 1
        return value

    def number(self) -> int | None:
        """The next value as the width or precision that ``*`` stands for; None where it cannot be one."""
        if self.place == len(self.values):
            return None
        value = self.next()
        return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST else None


def _part(found: re.Match[str], arguments: _Arguments) -> str:
    """The text of one verb, with its flags and indexes."""
    # An index before digits refers to nothing: it belongs to the "*" or the verb that it is next to.
    arguments.valid = not (found["at"] and (found["width"] not in ("", "*") or (found["dot"] and found["width"] != "*")))
    arguments.move(found["at"])
    flags, width, problem = _width(found, arguments)
    precision, imprecise = _precision(found, arguments)
    arguments.move(found["verb_at"])
    verb, problem = found["verb"], problem + imprecise
    if verb in ("", "%"):
        return problem + (verb or "%!(NOVERB)")
    if not arguments.valid:
        return f"{problem}%!{verb}(BADINDEX)"
    try:
        value = arguments.next()
    except LookupError:
        return f"{problem}%!{verb}(MISSING)"
    return problem + _padded(_verb(verb, flags, precision, value), flags, width)


def _width(found: re.Match[str], arguments: _Arguments) -> tuple[str, int, str]:
    """The flags, the width, and what Go writes about a bad one; a negative width is one with the flag ``-``."""
    flags, text = found["flags"], found["width"]
    if text != "*":
        return flags, int(text or 0), ""
    width = arguments.number()
    if width is None:
        return flags, 0, "%!(BADWIDTH)"
    return (flags if width >= 0 else "-" + flags), abs(width), ""


def _precision(found: re.Match[str], arguments: _Arguments) -> tuple[int | None, str]:
    """The precision, None without one, and what Go writes about a bad one."""
    if not found["dot"]:
        return None, ""
    arguments.move(found["precision_at"])
    if found["precision"] != "*":
        return int(found["precision"] or 0), ""
    precision = arguments.number()
    return (None, "%!(BADPREC)") if precision is None or precision < 0 else (precision, "")


def _too_large(number: str | None) -> bool:
    """Go ignores a width or precision above a million, and the rest of the layout with it."""
    return number not in (None, "*") and (len(number) > 7 or int(number or 0) > _MOST)


def _padded(text: str, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and not text.startswith("%!"):
        sign = text[0] if text[:1] in ("+", "-") else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _verb(verb: str, flags: str, precision: int | None, value: Value) -> str:  # noqa: PLR0911 - one line a type of value
    sign = "+" if "+" in flags else " " if " " in flags else "-"
    if verb == "v":
        return shown(value)
    if verb == "T":
        return type_name(value)
    if isinstance(value, list):
        return "[" + " ".join(_verb(verb, flags, precision, one) for one in value) + "]"
    if isinstance(value, bool):
        return shown(value) if verb == "t" else _wrong(verb, value)
    if isinstance(value, str):
        return _string(verb, value, precision)
    if isinstance(value, int):
        return _integer(verb, sign, value, marked="#" in flags)
    if isinstance(value, float):
        return _float(verb, sign, value, precision)
    return shown(value) if verb == "s" and value is not None else _wrong(verb, value)


def _string(verb: str, value: str, precision: int | None) -> str:
    cut = value if precision is None else value[:precision]
    if verb in ("x", "X"):
        digits = value.encode().hex()
        return digits.upper() if verb == "X" else digits
    return cut if verb == "s" else quoted(cut) if verb == "q" else _wrong(verb, value)


def _integer(verb: str, sign: str, value: int, *, marked: bool) -> str:
    if verb in "doxXb":
        # Go marks an octal number with 0, where Python writes 0o.
        return format(value, f"{sign}{'#' if marked else ''}{verb}").replace("0o", "0")
    if verb == "U":
        return f"U+{value:04X}"
    if verb == "c":
        return chr(value) if 0 <= value < 0x110000 else "\ufffd"
    return _wrong(verb, value)


def _float(verb: str, sign: str, value: float, precision: int | None) -> str:
    if verb in ("f", "F", "e", "E"):
        return format(value, f"{sign}.{6 if precision is None else precision}{verb}")
    if verb in ("g", "G"):
        return go_g(value) if precision is None else format(value, f"{sign}.{precision}{verb}")
    return _wrong(verb, value)


def _wrong(verb: str, value: Value) -> str:
    return "%!" + verb + ("(<nil>)" if value is None else f"({type_name(value)}={shown(value)})")
