"""Numbers and samples of many series as text, pure: all of a block at once, in cells of one width, whose padding is deleted in the end.

A cell is an element of a numpy array of bytes; bytes of value 0 anywhere in it are padding.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from tael.model.histogram import offsets_of
from tael.model.series import Bools, Floats, Longs
from tael.syntax.literals import compact

Cells: TypeAlias = "npt.NDArray[np.void]"

_PADDING: Final = b"\0"
_TOGETHER: Final = 10_000
"""The numbers of four digits, which are looked up in tables instead of being divided further."""


def _four_digits() -> npt.NDArray[np.uint32]:
    """Three tables of the numbers below 10,000 as four bytes: with leading zeros; without them, 0 being empty; without them, 0 being 0."""
    numbers, text = np.arange(_TOGETHER), np.zeros((3, _TOGETHER, 4), np.uint8)
    for place, power in enumerate((1000, 100, 10, 1)):
        digit = numbers // power % 10 + ord("0")
        text[0, :, place] = digit
        text[1:, :, place] = np.where(numbers >= power, digit, 0)
    text[2, 0, 3] = ord("0")
    return text.view(np.uint32).reshape(-1)


_DIGITS: Final = _four_digits()


def texts(values: Floats) -> list[str]:
    """Each number as Prometheus writes it: the shortest digits that read back as the same number, with an exponent below 1e-6 and from
    1e21 on.
    """
    if not len(values):
        return []
    numbers = _numbers(values)
    cells = np.empty(len(values), [("number", numbers.dtype), ("end", "S1")])
    cells["number"], cells["end"] = numbers, b","
    return _without_padding(cells).decode()[:-1].split(",")


def times(seconds: list[str]) -> Cells:
    """The times of the columns of ``rows``, each with what separates it from the sample before it."""
    return _void(np.array([f'"],[{time},"'.encode() for time in seconds]))


def rows(times: Cells, values: Floats, present: Bools) -> list[memoryview]:
    """For each series that has samples, these as ``[time,"value"],[time,"value``, without the end of the last one."""
    counts = np.count_nonzero(present, axis=1)
    if not counts.any():
        return []
    if present.all():
        at, numbers = np.tile(times, len(values)), _numbers(values.reshape(-1))
    else:
        at, numbers = times[np.nonzero(present)[1]], _numbers(values[present])
    cells = np.empty(len(at), [("at", at.dtype), ("number", numbers.dtype)])
    cells["at"], cells["number"] = at, numbers
    # A line break in place of the separator from the series before.
    cells.view(np.uint8).reshape(len(cells), -1)[offsets_of(counts)[:-1][counts > 0], :3] = (ord("\n"), 0, 0)
    text = _without_padding(cells)
    breaks = [*np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")).tolist(), len(text)]
    return [memoryview(text)[begin + 1 : end] for begin, end in pairwise(breaks)]


def _numbers(values: Floats) -> Cells:
    return _integers(values.astype(np.int64)) if _are_integers(values) else _floats(values)


def _are_integers(values: Floats) -> bool:
    """Whether all are integers that a float represents exactly (below 2^53), and none is -0."""
    exact = np.abs(values).max() < 2**53 and bool((values == np.trunc(values)).all())
    return exact and not np.signbit(values[values == 0]).any()


def _integers(values: Longs) -> Cells:
    """Integers below 10^16, four digits at a time."""
    rest = np.abs(values)
    width = len(str(rest.max()))
    groups = -(-width // 4)
    digits = np.empty((len(values), groups), np.uint32)
    empty = 2 * _TOGETHER
    for group in range(groups - 1, 0, -1):
        rest, last = np.divmod(rest, _TOGETHER)
        # Only zeros before the first other digit are left out, so only where nothing is left before them.
        last[rest == 0] += empty
        digits[:, group] = _DIGITS[last]
        empty = _TOGETHER
    digits[:, 0] = _DIGITS[rest + empty]
    cells = digits.view(np.uint8)[:, 4 * groups - width :]
    if (negative := values < 0).any():
        cells = np.column_stack((np.where(negative, np.uint8(ord("-")), np.uint8(0)), cells))
    return _void(cells)


def _floats(values: Floats) -> Cells:
    """Any numbers. Only those that orjson writes differently from Prometheus are formatted singly."""
    text = np.frombuffer(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY), np.uint8)
    ends = np.append(np.flatnonzero(text == ord(",")), len(text) - 1)
    begins = np.append(1, ends[:-1] + 1)
    fractions = (text[ends - 1] != ord("0")) | (text[ends - 2] != ord("."))
    sizes = ends - begins - np.where(fractions, 0, 2)
    size = np.abs(values)
    # In this range orjson writes the same text as Prometheus; outside, it switches to exponents sooner.
    odd = np.flatnonzero(~((size >= 1e-4) & (size < 1e16) | (size == 0)))
    written = [compact(number).encode() for number in values[odd].tolist()]
    width = max(int(sizes.max()), *map(len, written), 1)
    # Each number with what follows it, and a mask that clears what follows: copies of a fixed width are faster than of each its own.
    padded = np.concatenate((text, np.zeros(width, np.uint8)))
    cells = np.ndarray(len(text), f"V{width}", padded, strides=(1,))[begins].view(np.uint8)
    cells *= _void(np.tri(width + 1, width, -1, np.uint8))[sizes].view(np.uint8)
    for row, own in zip(odd.tolist(), written, strict=True):
        cells[row * width : (row + 1) * width] = np.frombuffer(own.ljust(width, _PADDING), np.uint8)
    return _void(cells.reshape(-1, width))


def _void(cells: npt.NDArray[Any]) -> Cells:
    """Rows of bytes, or strings, as one element each, which numpy copies as a whole."""
    size = cells.itemsize * (cells.shape[1] if cells.ndim > 1 else 1)
    found: Cells = np.ascontiguousarray(cells).view(f"V{size}").reshape(-1)
    return found


def _without_padding(cells: npt.NDArray[np.void]) -> bytes:
    text = cells.tobytes()
    padding = len(text) - np.count_nonzero(cells.view(np.uint8))
    # The first copies what is between the bytes, the second looks at each byte.
    return text.replace(_PADDING, b"") if padding * 64 < len(text) else text.translate(None, _PADDING)
