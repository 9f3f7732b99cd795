"""Stores the manifests of the cold tier: each shard's head in the key-value store, everything below it in the bucket (docs/adr/0014).

A reader takes a head, reads what it names, and reads the head again: if no hour of its range changed in between, each row was in exactly
one of the places that it read. An owner changes a manifest under the epoch of the shard's compactor lease.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Generic, TypeVar

from tael.cluster.api import KeyValue
from tael.cold.files import ROLLED, ColdFile
from tael.cold.manifest import Head, Manifest
from tael.cold.pages import Pages, decode_index, decode_page, head_key, manifest_prefix
from tael.cold.transitions import Change, restored, taken
from tael.errors import Conflict, Damaged, Fenced, NotFound, Unavailable
from tael.model.time import ALL_TIME, TimeRange
from tael.objects import ObjectStore
from tael.runtime.observe import get_logger
from tael.runtime.tasks import together

log = get_logger("manifests")
T = TypeVar("T")
# A page is one day of one of seven tables, so this is a year and a half of one shard.
_PAGES_KEPT = 4096
_AT_ONCE = 16
_HEADS_KEPT = 16


def cold_key(shard: int) -> str:
    """The key of the head of a shard's manifest."""
    return f"cold.{shard}"


class Manifests:
    """Reads manifests. Objects read from the bucket are cached, as they never change.

    Every method raises Retryable when the key-value store or the bucket cannot be reached, Damaged for an object that cannot be decoded.
    """

    def __init__(self, kv: KeyValue, objects: ObjectStore) -> None:
        self._kv = kv
        self._objects = objects
        self._indexes: _Cache[Pages] = _Cache(16)
        self._pages: _Cache[tuple[ColdFile, ...]] = _Cache(_PAGES_KEPT)

    async def head(self, shard: int) -> Head:
        """The newest head, no older than any whose write has returned; a head of revision 0 if nothing was ever rolled."""
        return (await self.stored(shard))[0]

    async def stored(self, shard: int) -> tuple[Head, int]:
        """The newest head and the revision of its key, 0 if the key does not exist."""
        found = await self._kv.get(cold_key(shard))
        if found is None:
            # The bucket is listed on each read of a shard without a head. That is cheap: there are no files yet, or the head is soon
            # restored.
            if await copies(self._objects, shard):
                raise Unavailable(f"the manifest of shard {shard} is not in the key-value store; its compactor restores it from the bucket")
            return Head(shard), 0
        return Head.decode(found.key, found.value), found.revision

    async def read(
        self, shard: int, tables: Collection[str] = tuple(ROLLED), time_range: TimeRange = ALL_TIME, *, head: Head | None = None
    ) -> Manifest:
        """The manifest at ``head`` (the newest one if None), with the pages of these tables and this range.

        The bucket is read only if the head says that there may be files.
        """
        if head is None:
            head = await self.head(shard)
        if not any(head.has_cold(table, time_range) for table in tables):
            return Manifest(head)
        return await self.load(Manifest(head, await self._index(head)), tables, time_range)

    async def load(self, manifest: Manifest, tables: Collection[str] = tuple(ROLLED), time_range: TimeRange = ALL_TIME) -> Manifest:
        """The same manifest with these pages loaded as well."""
        if manifest.head.index and not manifest.index:
            manifest = Manifest(manifest.head, await self._index(manifest.head))
        missing = list(manifest.missing_pages(tables, time_range).items())
        pages = dict(manifest.pages)
        # A few at a time: a query over a year would otherwise open a connection for each of its days.
        for start in range(0, len(missing), _AT_ONCE):
            part = missing[start : start + _AT_ONCE]
            found = await together((self._page(key) for _, key in part), name="read a page")
            pages.update({day: files for (day, _), files in zip(part, found, strict=True)})
        return Manifest(manifest.head, manifest.index, pages)

    async def _index(self, head: Head) -> Pages:
        if not head.index:
            return {}
        kept = self._indexes.get(head.index)
        return kept if kept is not None else self._indexes.keep(head.index, decode_index(head.index, await self._object(head.index)))

    async def _page(self, key: str) -> tuple[ColdFile, ...]:
        kept = self._pages.get(key)
        return kept if kept is not None else self._pages.keep(key, decode_page(key, await self._object(key)))

    async def _object(self, key: str) -> bytes:
        try:
            return await self._objects.get(key)
        except NotFound as error:
            raise Damaged(key, "the bucket does not have it") from error


class ManifestOwner:
    """Changes one shard's manifest under an epoch of its compactor lease. Not safe for concurrent use."""

    def __init__(self, kv: KeyValue, objects: ObjectStore, manifests: Manifests, shard: int, epoch: int) -> None:
        self._kv = kv
        self._objects = objects
        self._manifests = manifests
        self._shard = shard
        self._revision = 0
        self.epoch = epoch
        self.manifest = Manifest(Head(shard))

    async def take(self) -> None:
        """Claim the manifest for this epoch, after which earlier owners cannot change it any more. Raises Fenced if a later epoch has
        claimed it.
        """
        try:
            head, self._revision = await self._manifests.stored(self._shard)
        except Unavailable:
            head, self._revision = await restore(self._kv, self._objects, self._shard)
        self.manifest = Manifest(head)
        await self.commit(taken(self.manifest, self.epoch))

    async def confirm(self) -> None:
        """Raises Fenced when the manifest is no longer as this owner left it: another owner changed it, or the key-value store lost it."""
        found = await self._kv.get(cold_key(self._shard))
        if found is None or found.revision != self._revision:
            raise Fenced(f"the manifest of shard {self._shard} is not as this compactor left it")

    async def load(self, tables: Collection[str] = tuple(ROLLED), time_range: TimeRange = ALL_TIME) -> Manifest:
        """The manifest with these pages loaded."""
        self.manifest = await self._manifests.load(self.manifest, tables, time_range)
        return self.manifest

    async def commit(self, change: Change) -> None:
        """Apply a change to the shard's manifest, all of it or nothing.

        Raises Fenced when another owner changed the manifest. After Retryable the change may or may not have taken effect: ``take`` again,
        and decide again. When this returns, the bucket has a copy of the head, so nobody acts on a head that could not be restored.
        """
        # Objects before the head that names them: a reader must find every object a head names. A failed commit leaves them as garbage.
        await together((self._objects.put(key, body) for key, body in change.objects.items()), name="write a manifest")
        head = change.manifest.head
        body = head.encode()
        try:
            if self._revision:
                self._revision = await self._kv.update(cold_key(self._shard), body, self._revision)
            else:
                self._revision = await self._kv.create(cold_key(self._shard), body)
        except Conflict as error:
            await self._settle(body, error)
        self.manifest = change.manifest
        # After the key, never before: the copy of a head that lost its compare-and-set could be restored as if it had been committed.
        await self._objects.put(head_key(self._shard, head.revision), body)

    async def _settle(self, body: bytes, error: Conflict) -> None:
        """After a Conflict: adopt the stored head if it is our own write whose answer was lost. Raises Fenced otherwise."""
        found = await self._kv.get(cold_key(self._shard))
        if found is None or found.value != body:
            raise Fenced(f"another compactor changed the manifest of shard {self._shard}") from error
        self._revision = found.revision

    async def tidy(self) -> int:
        """Delete copies of all but the newest heads; return their number."""
        keys = await self._objects.list(f"{manifest_prefix(self._shard)}heads/")
        # Keys end in the zero-padded revision, so the last ones are the newest.
        for key in keys[:-_HEADS_KEPT]:
            await self._objects.delete(key)
        return len(keys[:-_HEADS_KEPT])


async def copies(objects: ObjectStore, shard: int) -> list[str]:
    """The keys of the copies of a shard's heads, newest last; none if the bucket does not exist yet."""
    try:
        return await objects.list(f"{manifest_prefix(shard)}heads/")
    except NotFound:
        return []


async def restore(kv: KeyValue, objects: ObjectStore, shard: int) -> tuple[Head, int]:
    """Restore a missing head from its newest copy in the bucket; return the head and its key's revision.

    Raises Conflict when the key-value store has a head, NotFound when the bucket has no copy.
    """
    keys = await copies(objects, shard)
    if not keys:
        raise NotFound(f"the bucket has no manifest of shard {shard}")
    head = restored(Head.decode(keys[-1], await objects.get(keys[-1])))
    # create() decides between two compactors that restore at once: the loser gets Conflict and reads the winner's head.
    revision = await kv.create(cold_key(shard), head.encode())
    log.warning("restored a shard's manifest from the bucket", shard=shard, revision=head.revision)
    return head, revision


class _Cache(Generic[T]):
    """An LRU cache of ``most`` values."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str) -> T | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def keep(self, key: str, value: T) -> T:
        self._values[key] = value
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return value
