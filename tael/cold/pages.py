"""The objects of a manifest in the bucket, pure: the encoding and the keys of pages, the index and lists of unused keys."""

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
    # Fields added later are written only where they differ from their defaults, so that older releases can read pages without what they
    # describe.
    defaults = {"resolution": 0, "hours": 1, "words": 0}
    listed = [{name: value for name, value in asdict(file).items() if defaults.get(name, ()) != value} for file in files]
    return gzip.compress(orjson.dumps(listed), compresslevel=5, mtime=0)


def decode_page(key: str, body: bytes) -> tuple[ColdFile, ...]:
    """Read what ``encode_page`` wrote. Raises Damaged."""
    try:
        return tuple(ColdFile(**one) for one in _json(body))
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise Damaged(key, f"not a page of a manifest: {error}") from error


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
        raise Damaged(key, f"not the index of a manifest: {error}") from error


def encode_trash(keys: Sequence[str]) -> bytes:
    """Gzip of a JSON array of keys that nothing names any more."""
    return gzip.compress(orjson.dumps(keys), mtime=0)


def decode_trash(key: str, body: bytes) -> list[str]:
    """Read what ``encode_trash`` wrote. Raises Damaged."""
    try:
        return [str(one) for one in _json(body)]
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise Damaged(key, f"not a list of keys: {error}") from error


def head_key(shard: int, revision: int) -> str:
    """The key of a head's copy in the bucket; keys of later revisions sort after earlier ones."""
    return f"{manifest_prefix(shard)}heads/{revision:012d}.json"


def manifest_prefix(shard: int) -> str:
    """The common prefix of the keys of a shard's manifest."""
    return f"_manifest/{shard}/"


def object_key(shard: int, revision: int, kind: str, body: bytes) -> str:
    """The key of an object that a revision of a shard's manifest writes; ``kind`` is ``pages``, ``index`` or ``trash``."""
    # With the revision, so that a key in the trash is never used again; with a hash, so that two owners never write different bodies to one
    # key.
    return f"{manifest_prefix(shard)}{kind}/{revision:012d}-{hashlib.sha256(body).hexdigest()[:16]}.json.gz"


def _json(body: bytes) -> Any:
    return orjson.loads(gzip.decompress(body))
