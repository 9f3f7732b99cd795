"""Regular expressions of numbers in a text that pass a comparison, as far as their digits tell. Pure.

They match whatever may pass: a whole number by its value, one with a fraction by the digits in front of it, and everything else that is no
number in plain digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from tael.logql.ast import NumberFilter

_MAX_EXACT: Final = 1 << 53


def passing(stage: NumberFilter, ends: str, *, further: str = "") -> str:
    """A regular expression of the digits of a number, up to its end, that passes the filter, or of a value that begins with digits and is
    more than a number.

    ``ends`` are the characters, as in a class of a regular expression, of which any ends the value; ``further`` are other values that are
    no numbers.
    """
    whole = "|".join(_digits(*_between(stage.op, stage.value)))
    cut = "|".join(_digits(*_around(stage.op, stage.value)))
    parts = [rf"0*(?:{whole})(?:[^0-9]|$)"] if whole else []
    parts += [rf"0*(?:{cut})\."] if cut else []
    # A number of hundreds of digits is out of range, which is an error, and passes.
    parts += ["[0-9]{20,}", rf"[0-9]+[^0-9.{ends}]", rf"[0-9]+\.[0-9]*[^0-9{ends}]"]
    return "|".join([*parts, *([further] if further else [])])


def _between(op: str, value: float) -> tuple[int, int | None]:
    """The least and the greatest whole number, not negative, that passes; None for no greatest."""
    if not abs(value) < _MAX_EXACT or op == "!=":
        return 0, None
    if op in ("=", "=="):
        return math.ceil(value), math.floor(value)
    if op in (">", ">="):
        return math.floor(value) + 1 if op == ">" else math.ceil(value), None
    return 0, math.ceil(value) - 1 if op == "<" else math.floor(value)


def _around(op: str, value: float) -> tuple[int, int | None]:
    """The same of whole numbers to which a fraction is added. The sum of very many digits is rounded, up to the next whole
    number at most.
    """
    if not abs(value) < _MAX_EXACT or op == "!=":
        return 0, None
    least = math.ceil(value) - 1 if op in ("=", "==", ">", ">=") else 0
    return least, None if op in (">", ">=") else math.floor(value)


def _digits(least: int, most: int | None) -> Iterator[str]:
    """Regular expressions that together match the numbers of the interval, and at least a digit, after any further zeros."""
    least = max(least, 0)
    if most is None:
        yield from _at_least(str(least)) if least else ["[0-9]+"]
    elif least == 0 < most + 1:
        yield from _at_most(str(most))
    else:
        yield from map(str, range(least, most + 1))


def _at_least(digits: str) -> Iterator[str]:
    yield digits
    yield f"[1-9][0-9]{{{len(digits)},}}"
    for place, digit in enumerate(digits):
        if digit < "9":
            yield f"{digits[:place]}[{int(digit) + 1}-9][0-9]{{{len(digits) - place - 1}}}"


def _at_most(digits: str) -> Iterator[str]:
    yield digits
    if len(digits) > 1:
        yield f"[0-9]{{1,{len(digits) - 1}}}"
    for place, digit in enumerate(digits):
        if digit > "0":
            yield f"{digits[:place]}[0-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
