"""``printf`` with Go's verbs and flags, for the values of templates."""

from __future__ import annotations

import re
from typing import Final

from tael.logql.template.bounds import require_room, require_room_for
from tael.logql.template.values import Value, go_g, shown, type_name
from tael.syntax.literals import quoted

_PARTS: Final = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:(?P<dot>\.)(?P<precision>\d*))?(?P<verb>.?)", re.DOTALL)


def sprintf(layout: str, *values: Value) -> str:
    """``layout`` with the values in place of its verbs; a mismatch is written as ``%!d(string=x)``, as in Go."""
    left, size = list(values), 0
    large = next((found for found in _PARTS.finditer(layout) if _too_large(found["width"]) or _too_large(found["precision"])), None)
    layout, end = (layout, "") if large is None else (layout[: large.start()], "%!(NOVERB)")

    def one(found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb == "%":
            return "%"
        if not verb:
            return "%!(NOVERB)"
        return _one(found, left.pop(0)) if left else f"%!{verb}(MISSING)"

    def written(found: re.Match[str]) -> str:
        nonlocal size
        text = one(found)
        size += len(text)
        require_room(size, *values)
        return text

    text = _PARTS.sub(written, layout) + end
    if left:
        require_room_for(*left)
        text += "%!(EXTRA " + ", ".join(f"{type_name(value)}={shown(value)}" for value in left) + ")"
    return text


def _too_large(number: str | None) -> bool:
    """Go ignores a width or precision above a million, and the rest of the layout with it."""
    return len(number or "") > 7 or int(number or 0) > 1_000_000


def _one(found: re.Match[str], value: Value) -> str:
    text = _verb(found["verb"], found["flags"], int(found["precision"] or 0) if found["dot"] else None, value)
    width = int(found["width"] or 0)
    if "-" in found["flags"]:
        return text.ljust(width)
    if "0" in found["flags"] and not text.startswith("%!"):
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
