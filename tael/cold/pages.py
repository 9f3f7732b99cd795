"""The objects of a manifest in the bucket, pure: how the pages, the index and the lists of unused keys are written, and under which keys."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from tael.cold.files import ColdFile
from tael.errors import Damaged

Pages = Mapping[tuple[str, int], str]
"""The key of the page of a table's day."""


def encode_page(files: Iterable[ColdFile]) -> bytes:
    """The files of a table's day: gzip of a JSON array with an object a file."""
    # What few files have is named where it is, so that versions without rollups or days can read the pages that have none.
    few = {"resolution": 0, "hours": 1}
    listed = [{name: value for name, value in asdict(file).items() if few.get(name, ()) != value} for file in files]
    return gzip.compress(orjson.dumps(listed), compresslevel=5, mtime=0)


def decode_page(key: str, body: bytes) -> tuple[ColdFile, ...]:
    """Read what ``encode_page`` wrote. Raises Damaged."""
    try:
        return tuple(ColdFile(**one) for one in _json(body))
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise Damaged(key, f"this is no page of a manifest: {error}") from error


def encode_index(index: Pages) -> bytes:
    """Gzip of a JSON object: table → day → key."""
    nested: dict[str, dict[str, str]] = {}
    for (table, day), key in sorted(index.items()):
        nested.setdefault(table, {})[str(day)] = key
    return gzip.compress(orjson.dumps(nested), compresslevel=5, mtime=0)


def decode_index(key: str, body: bytes) -> dict[tuple[str, int], str]:
    """Read what ``encode_index`` wrote. Raises Damaged."""
    try:
        return {(table, int(day)): str(page) for table, days in _json(body).items() for day, page in days.items()}
    except (TypeError, ValueError, AttributeError, OSError, EOFError) as error:
        raise Damaged(key, f"this is no index of a manifest: {error}") from error


def encode_trash(keys: Sequence[str]) -> bytes:
    """Gzip of a JSON array of keys that nothing names any more."""
    return gzip.compress(orjson.dumps(keys), mtime=0)


def decode_trash(key: str, body: bytes) -> list[str]:
    """Read what ``encode_trash`` wrote. Raises Damaged."""
    try:
        return [str(one) for one in _json(body)]
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise Damaged(key, f"this lists no keys: {error}") from error


def head_key(shard: int, revision: int) -> str:
    """Where the copy of a head is in the bucket; later revisions sort behind earlier ones."""
    return f"{manifest_prefix(shard)}heads/{revision:012d}.json"


def manifest_prefix(shard: int) -> str:
    """What the keys of a shard's manifest begin with."""
    return f"_manifest/{shard}/"


def object_key(shard: int, revision: int, kind: str, body: bytes) -> str:
    """The key of an object that a revision of a shard's manifest writes; ``kind`` is ``pages``, ``index`` or ``trash``."""
    # By its revision, so that a key never comes back once it is to be deleted; by its content, so that two owners never write one key differently.
    return f"{manifest_prefix(shard)}{kind}/{revision:012d}-{hashlib.sha256(body).hexdigest()[:16]}.json.gz"


def _json(body: bytes) -> Any:
    return orjson.loads(gzip.decompress(body))
