"""Asking several readers one question at once and gathering their answers: of shards, some of which may be missing, or of readers that must
all answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from tael.errors import Retryable, Unavailable
from tael.runtime.tasks import together
from tael.storage import work
from tael.storage.api import Answer, AskedShard

R = TypeVar("R")
T = TypeVar("T")
Reader_co = TypeVar("Reader_co", covariant=True)
_QUICK_SECONDS: Final = 1.0
"""A shard that failed within so long is asked again: it costs little, and may have recovered."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long shards are waited for by a query that asks several questions: for each question at most ``seconds``, and not again for
    a shard that was waited for in vain, because the result lacks it already. ``lost`` has the reasons by the names of such shards.
    """

    seconds: float = math.inf
    lost: dict[str, str] = field(default_factory=dict)


_PATIENCE: Final[ContextVar[Patience | None]] = ContextVar("patience", default=None)


@contextlib.contextmanager
def patient(patience: Patience) -> Iterator[None]:
    """Wait with ``patience`` for shards that are asked in the block and in tasks that it starts. See ``work.measured`` for generators."""
    token = _PATIENCE.set(patience)
    try:
        yield
    finally:
        _PATIENCE.reset(token)


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """The values of the shards that answered, and the names of those that did not."""

    values: list[T]
    missing: tuple[str, ...]


class Gather(Protocol[Reader_co]):
    """Asks several readers one question; merging their answers is left to the caller (merged.py)."""

    async def ask(self, question: Callable[[Reader_co], Awaitable[Answer[T]]], on_part: Callable[[T], None] | None = None) -> Gathered[T]:
        """The answers, in the order of the readers. Raises a reader's error unless other answers make up for it.

        ``on_part`` MUST be called with each answer's value as it arrives, before the whole is returned.
        """
        ...


class Merged(Generic[R]):
    """Base of a reader that composes several: ``gather`` collects their answers, and each method merges them."""

    def __init__(self, gather: Gather[R]) -> None:
        self._gather = gather


class Shards(Generic[R]):
    """See Gather: the shards of one signal. A shard that fails, or has not answered within ``deadline_seconds``, is missing from the
    answer.

    Raises Unavailable when no shard answered, and Rejected as soon as one shard rejects the question.
    """

    def __init__(self, shards: Sequence[AskedShard[R]] = (), *, deadline_seconds: float = 10.0) -> None:
        self._shards = tuple(shards)
        self._deadline_seconds = deadline_seconds

    def use(self, shards: Sequence[AskedShard[R]]) -> None:
        """Ask these shards from the next question on, after the shard map has grown. Questions under way keep the shards that they began
        with.
        """
        self._shards = tuple(shards)

    async def ask(self, question: Callable[[R], Awaitable[Answer[T]]], on_part: Callable[[T], None] | None = None) -> Gathered[T]:
        """See Gather."""
        # One tuple for the whole question: ``use`` may replace it meanwhile, and answers are matched to shards by position.
        shards = self._shards
        if not shards:
            raise Unavailable("no shards are registered yet")
        patience = _PATIENCE.get() or Patience()
        work.add(asked=sum(shard.name not in patience.lost for shard in shards))

        async def one(shard: AskedShard[R]) -> Answer[T] | str:
            answer = await self._ask(shard, question, patience)
            work.add(answered=isinstance(answer, Answer))
            if on_part is not None and isinstance(answer, Answer):
                on_part(answer.value)
            return answer

        answers = await together((one(shard) for shard in shards), name="ask a shard")
        values = [answer.value for answer in answers if isinstance(answer, Answer)]
        if not values:
            reasons = "; ".join(f"{shard.name}: {answer}" for shard, answer in zip(shards, answers, strict=True))
            raise Unavailable(f"no shard answered ({reasons})")
        missing = (answer.missing if isinstance(answer, Answer) else (shard.name,) for shard, answer in zip(shards, answers, strict=True))
        return Gathered(values, tuple(name for names in missing for name in names))

    async def _ask(self, shard: AskedShard[R], question: Callable[[R], Awaitable[Answer[T]]], patience: Patience) -> Answer[T] | str:
        """The shard's answer, or the reason why there is none."""
        if (reason := patience.lost.get(shard.name)) is not None:
            return reason
        seconds, began = min(self._deadline_seconds, patience.seconds), time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                return await shard.ask(question)
        except TimeoutError:  # this deadline's: the port turns a deadline of its own into Unavailable
            return patience.lost.setdefault(shard.name, f"no answer within {seconds:g} s")
        except Retryable as error:
            if time.monotonic() - began > _QUICK_SECONDS:
                patience.lost[shard.name] = error.reason
            return error.reason


class AllOf(Generic[R]):
    """See Gather: readers of different data, all of which must answer. An error of one reader is raised."""

    def __init__(self, readers: Sequence[R]) -> None:
        self._readers = tuple(readers)

    async def ask(self, question: Callable[[R], Awaitable[Answer[T]]], on_part: Callable[[T], None] | None = None) -> Gathered[T]:
        """See Gather. A shard that is missing from several answers is listed once."""

        async def one(reader: R) -> Answer[T]:
            answer = await question(reader)
            if on_part is not None:
                on_part(answer.value)
            return answer

        answers = await together((one(reader) for reader in self._readers), name="ask a reader")
        missing = dict.fromkeys(name for answer in answers for name in answer.missing)
        return Gathered([answer.value for answer in answers], tuple(missing))
