"""The shapes of lines: words that many lines have in common, and ``<_>`` for words that vary.

A line's words are compared with the shapes of the same length (the idea of Drain, He et al. 2017). The line belongs to the shape with the
most words in common if these are at least half; the words that differ become gaps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

GAP: Final = "<_>"
MOST_SHAPES: Final = 300
MOST_WORDS: Final = 100
ALIKE: Final = 0.5
_CHANGING: Final = re.compile(r"\d")
_SPACES: Final = re.compile(r"(\s+)")


@dataclass(slots=True)
class _Shape:
    words: list[str]
    samples: dict[int, int] = field(default_factory=dict)

    def alike(self, words: list[str]) -> float:
        """The fraction of words that are the same."""
        return sum(own in (other, GAP) for own, other in zip(self.words, words, strict=True)) / len(words)

    def take(self, words: list[str], slot: int) -> None:
        """Add a line."""
        self.words = [own if own == other else GAP for own, other in zip(self.words, words, strict=True)]
        self.samples[slot] = self.samples.get(slot, 0) + 1


class Patterns:
    """Collects lines in at most ``MOST_SHAPES`` shapes; lines of any further shape are ignored."""

    def __init__(self, step_ns: int) -> None:
        self._step_ns = step_ns
        self._shapes: dict[int, list[_Shape]] = {}
        self._count = 0

    def add(self, timestamp_ns: int, line: str) -> None:
        """Add a line; of a long line only the beginning counts."""
        words = [GAP if _CHANGING.search(word) else word for word in _SPACES.split(line.strip())[: 2 * MOST_WORDS]]
        if not line.strip():
            return
        shapes = self._shapes.setdefault(len(words), [])
        best = max(shapes, key=lambda shape: shape.alike(words), default=None)
        if best is None or best.alike(words) < ALIKE:
            if self._count >= MOST_SHAPES:
                return
            best = _Shape(words)
            shapes.append(best)
            self._count += 1
        best.take(words, timestamp_ns // self._step_ns * self._step_ns // 1_000_000_000)

    def described(self) -> list[dict[str, Any]]:
        """The shapes, most frequent first, with their number of lines in each step."""
        shapes = sorted((shape for shapes in self._shapes.values() for shape in shapes), key=lambda shape: -sum(shape.samples.values()))
        return [{"pattern": _joined(shape.words), "samples": [list(pair) for pair in sorted(shape.samples.items())]} for shape in shapes]


def _joined(words: list[str]) -> str:
    return re.sub(r"<_>(?:\s*<_>)+", GAP, "".join(words))
