"""Asks several shards the same at once, gathers what comes in time, and names what did not: what every sharded reader stands on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tael.errors import Retryable, Unavailable
from tael.runtime.tasks import together
from tael.storage.api import Answer, Shard

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """The values of the shards that answered, and the names of those that did not."""

    values: list[T]
    missing: tuple[str, ...]


class Scatter(Generic[R]):
    """The shards of one signal's readers. A shard that fails, or has not answered after ``deadline_seconds``, is missing.

    Raises Unavailable when no shard answered, and Rejected as soon as one shard rejects the question.
    """

    def __init__(self, shards: Sequence[Shard[R]], *, deadline_seconds: float = 10.0) -> None:
        self._shards = tuple(shards)
        self._deadline_seconds = deadline_seconds

    def use(self, shards: Sequence[Shard[R]]) -> None:
        """Ask these shards from the next question on: the shard map has grown."""
        self._shards = tuple(shards)

    async def ask_all(self, ask: Callable[[R], Awaitable[Answer[T]]]) -> Gathered[T]:
        """The answers of all shards to one question."""
        shards = self._shards
        if not shards:
            raise Unavailable("no shard is known yet")
        answers = await together((self._ask(shard, ask) for shard in shards), name="ask a shard")
        values = [answer.value for answer in answers if isinstance(answer, Answer)]
        if not values:
            reasons = "; ".join(f"{shard.name}: {answer}" for shard, answer in zip(shards, answers, strict=True))
            raise Unavailable(f"no shard answered ({reasons})")
        missing = (answer.missing if isinstance(answer, Answer) else (shard.name,) for shard, answer in zip(shards, answers, strict=True))
        return Gathered(values, tuple(name for names in missing for name in names))

    async def _ask(self, shard: Shard[R], ask: Callable[[R], Awaitable[Answer[T]]]) -> Answer[T] | str:
        """The shard's answer, or why there is none."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await ask(shard.reader)
        except TimeoutError:
            return f"no answer within {self._deadline_seconds} s"
        except Retryable as error:
            return error.reason
