"""A request of another protocol translated to OTLP, with counts of what could not be parsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from google.protobuf.message import Message

from tael.errors import Rejected, TooLarge

M = TypeVar("M", bound=Message)
_MAX_REASONS = 5


@dataclass(slots=True)
class Translated(Generic[M]):
    """``request`` holds what could be translated; ``left_out`` counts by reason what could not."""

    request: M
    left_out: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def tolerating(self) -> Iterator[None]:
        """Catch Rejected in the block, and count what it was processing as left out."""
        try:
            yield
        except TooLarge:
            raise
        except Rejected as error:
            self.left_out[str(error)] += 1

    def explain(self) -> str:
        """What was left out, as one line; empty when nothing was."""
        reasons = [f"{count} left out: {reason}" for reason, count in self.left_out.most_common(_MAX_REASONS)]
        return "; ".join(reasons + (["…"] if len(self.left_out) > _MAX_REASONS else []))
