"""A shard that is read over its tiers: a question reads one snapshot of the manifest and is repeated if the snapshot became outdated
(docs/adr/0015).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Final, Generic, Protocol, TypeVar

from tael.cold.files import ROLLED
from tael.cold.manifest import Head, Manifest
from tael.errors import Damaged, Rejected, Retryable, TaelError, Unavailable, Unreadable
from tael.model.time import TimeRange
from tael.runtime.observe import get_logger
from tael.storage.api import Answer
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.parquet import Columns
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.clickhouse.tiers import HoursMoving, PagesMissing, TieredTables

R = TypeVar("R")
T = TypeVar("T")
ATTEMPTS: Final = 40
"""How often a question is repeated at most while hours of its range change, pages of the manifest are missing, or files turn out to be
unreadable.
"""
MOVING_SECONDS: Final = 3.0
"""How long to wait for the move of an hour, which takes milliseconds unless its owner dies during it."""
_LOOK_SECONDS: Final = 0.02
_COLUMNS_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 5.0
_NAMED: Final = 10
_COLUMNS_SQL: Final = (
    "SELECT table, name, type FROM system.columns\n"
    "WHERE database = {database:String} AND table IN {tables:Array(String)} AND default_kind IN ('', 'DEFAULT')\nORDER BY table, position"
)
log = get_logger("tiers")


@contextlib.contextmanager
def _not_the_callers_fault() -> Iterator[None]:
    """Raise Unavailable for a damaged manifest, or a bucket that refuses this process's credentials: callers can do nothing
    about either.
    """
    try:
        yield
    except (Damaged, Rejected) as error:
        raise Unavailable(str(error)) from error


class ManifestReader(Protocol):
    """Reads the shards' manifests. Every method raises Retryable when nothing answers, Damaged for what cannot be read."""

    async def head(self, shard: int) -> Head:
        """The newest head; it MUST NOT be older than any whose write has returned."""
        ...

    async def load(self, manifest: Manifest, tables: Collection[str], time_range: TimeRange) -> Manifest:
        """The same manifest, with the pages of these tables and this range too."""
        ...


class Tiers:
    """The state of one shard that its readers share: the newest manifest that this process has seen, and the columns of its tables."""

    def __init__(self, shard: int, name: str, clickhouse: ClickHouse, manifests: ManifestReader, bucket_url: str) -> None:
        self.name = name
        self._shard = shard
        self._clickhouse = clickhouse
        self._manifests = manifests
        self._bucket_url = bucket_url
        self._manifest: Manifest | None = None
        self._ask_again_at = self._silent_until = 0.0
        self._columns: Mapping[str, Columns] = {}
        self._columns_at = -_COLUMNS_SECONDS

    async def snapshot(self) -> Manifest | None:
        """The newest manifest that this process has seen; whether it is outdated is checked after a question. None when none can
        be read.
        """
        if self._manifest is None and time.monotonic() >= self._ask_again_at:
            try:
                return self.remember(Manifest(await self.head()))
            except Retryable as error:
                # It may take seconds to find out that the store is unreachable; only the first question waits for that.
                self._ask_again_at = time.monotonic() + _AGAIN_SECONDS
                log.warning("cannot read a shard's manifest; reading its hot tier alone", shard=self.name, reason=error.reason)
        return self._manifest

    async def head(self) -> Head:
        """The newest head. Raises Retryable."""
        with _not_the_callers_fault():
            return await self._manifests.head(self._shard)

    def remember(self, manifest: Manifest) -> Manifest:
        """Remember the manifest unless a later one is known, and return it."""
        # Several questions load pages at once: a manifest with an older head must not replace a newer one.
        if self._manifest is None or manifest.revision >= self._manifest.revision:
            self._manifest = manifest
        return manifest

    async def load(self, manifest: Manifest, table: str, time_range: TimeRange) -> Manifest:
        """The manifest with these pages. Raises Retryable."""
        with _not_the_callers_fault():
            return self.remember(await self._manifests.load(manifest, (table,), time_range))

    def hot(self) -> HotTables:
        """The source of only the hot tables."""
        return HotTables(self._clickhouse.database)

    @property
    def silent(self) -> bool:
        """Whether the object store gave no answer a moment ago."""
        return time.monotonic() < self._silent_until

    def give_up(self) -> None:
        """Remember that the object store gives no answer: to find out takes a third of a question's time, and most questions have several
        statements.
        """
        self._silent_until = time.monotonic() + _AGAIN_SECONDS

    async def source(self, manifest: Manifest, unreadable: Collection[str]) -> TieredTables:
        """The source for one attempt at a question. Columns are read only if hours have left the hot tables, and at most once a minute."""
        head = manifest.head
        if (head.cold or head.open) and time.monotonic() - self._columns_at >= _COLUMNS_SECONDS:
            rows = await self._clickhouse.query(_COLUMNS_SQL, {"database": self._clickhouse.database, "tables": sorted(ROLLED)})
            found: dict[str, list[tuple[str, str]]] = {}
            for table, name, kind in rows:
                found.setdefault(text(table), []).append((text(name), text(kind)))
            self._columns, self._columns_at = found, time.monotonic()
        return TieredTables(self._clickhouse.database, manifest, self._columns, self._bucket_url, unreadable)


class _Every(frozenset[str]):
    """The keys of all files."""

    def __contains__(self, key: object) -> bool:
        return True


_EVERY: Final = _Every()


class TieredShard(Generic[R]):
    """See AskedShard. ``build`` makes a reader over a source; it is called for every attempt at every question.

    A question that cannot be answered raises its reader's error, or Unavailable if hours of its range keep moving.
    """

    def __init__(self, tiers: Tiers, build: Callable[[Source], R]) -> None:
        self._tiers = tiers
        self._build = build

    @property
    def name(self) -> str:
        """See AskedShard."""
        return self._tiers.name

    @property
    def _unreachable(self) -> str:
        return f"{self.name}: its manifest"  # answers add that it did not answer

    async def ask(self, question: Callable[[R], Awaitable[Answer[T]]]) -> Answer[T]:
        """See AskedShard. Files that cannot be read are left out and listed as missing."""
        known, unreadable = await self._tiers.snapshot(), _EVERY if self._tiers.silent else frozenset[str]()
        if known is None:
            answer = await question(self._build(self._tiers.hot()))
            return Answer(answer.value, (*answer.missing, self._unreachable))
        manifest, patience = known, time.monotonic() + MOVING_SECONDS
        for _ in range(ATTEMPTS):
            source = await self._tiers.source(manifest, unreadable)
            try:
                answer = await question(self._build(source))
            except TaelError as error:
                manifest, more = await self._after(error, source, manifest, patience)
                unreadable = more if more is _EVERY else unreadable | more
                continue
            try:
                head = await self._overtaken(source, manifest)
            except Retryable:
                return Answer(answer.value, (*answer.missing, *self._left_out(source), self._unreachable))
            if head is None:
                return Answer(answer.value, (*answer.missing, *self._left_out(source)))
            manifest = self._tiers.remember(Manifest(head))
        raise Unavailable("hours of the range kept moving between tiers while they were read")

    async def _after(self, error: TaelError, source: TieredTables, manifest: Manifest, patience: float) -> tuple[Manifest, frozenset[str]]:
        """The manifest for the next attempt, and the keys of files to leave out. Raises the error if another attempt would not help."""
        if isinstance(error, PagesMissing):
            return await self._tiers.load(manifest, error.table, error.time_range), frozenset()
        if isinstance(error, HoursMoving):
            return await self._after_a_move(manifest, patience, error), frozenset()
        # A table or file that has gone since the snapshot is not a failure: its rows are elsewhere now.
        try:
            head = await self._overtaken(source, manifest)
        except Retryable:
            raise error from None
        if head is not None:
            return self._tiers.remember(Manifest(head)), frozenset()
        keys = _unreadable(error, source.trail.opened) if isinstance(error, Unreadable) else frozenset()
        if not keys:
            raise error
        if isinstance(error, Unreadable) and error.silent:
            log.warning("the object store does not answer; reading without its files", shard=self.name, key=min(keys))
            self._tiers.give_up()
            return manifest, _EVERY
        log.warning("a file of the cold tier cannot be read", shard=self.name, key=min(keys), files=len(keys))
        return manifest, keys

    async def _overtaken(self, source: TieredTables, manifest: Manifest) -> Head | None:
        """The newest head if it differs from the snapshot in the tables and ranges that were read, None otherwise. Raises Retryable."""
        # No statement read a table whose hours move.
        if not source.trail.asked:
            return None
        try:
            head = await self._tiers.head()
        except Retryable:
            if manifest.revision == 0:  # nothing was ever rolled, and no roll can begin without NATS
                return None
            raise
        # Only a head that was read after the answer can prove that nothing moved while rows were read.
        if not source.trail.holds(head, manifest.head):
            return head
        if head.revision > manifest.revision:
            self._tiers.remember(Manifest(head))
        return None

    async def _after_a_move(self, manifest: Manifest, patience: float, error: TaelError) -> Manifest:
        """Wait for the next manifest. Raises Unavailable if none comes in time: a compactor died during a move and no other has taken over
        yet.
        """
        while (head := await self._tiers.head()).revision <= manifest.revision:
            if time.monotonic() > patience:
                raise Unavailable(f"{error}, and no compactor finishes the move") from error
            await asyncio.sleep(_LOOK_SECONDS)
        return self._tiers.remember(Manifest(head))

    def _left_out(self, source: TieredTables) -> tuple[str, ...]:
        named = sorted(source.trail.left_out)
        more = [f"{self.name}: {len(named) - _NAMED} more files"] if len(named) > _NAMED else []
        return (*(f"{self.name}: {key}" for key in named[:_NAMED]), *more)


def _unreadable(error: Unreadable, opened: Collection[str]) -> frozenset[str]:
    """The files to leave out: the one that the error names, or all that were opened if the store itself does not answer."""
    named = {key for key in opened if error.key.endswith(key)}
    return frozenset(named if error.alone else opened if named else ())
