"""Dead letters in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tael.wal.api import Buried, DeadLetter


class MemoryLetters:
    """See DeadLetters: ids count from 1."""

    def __init__(self, *letters: DeadLetter) -> None:
        self.buried = {number: Buried(number, 0, letter) for number, letter in enumerate(letters, 1)}

    async def list(self, after: int, limit: int) -> Sequence[Buried]:
        """See DeadLetters."""
        return [buried for number, buried in self.buried.items() if number > after][:limit]

    async def get(self, letter_id: int) -> Buried | None:
        """See DeadLetters."""
        return self.buried.get(letter_id)

    async def drop(self, letter_id: int) -> None:
        """See DeadLetters."""
        self.buried.pop(letter_id, None)
