"""The cluster's state as a file: backed up from a key-value store, and restored into an empty one.

Three things are not restored: members, which announce themselves; the holders of leases, which are gone; and the heads of the cold tier's
manifests, of which the bucket has newer copies that the compactor restores (docs/adr/0014).
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from tael.cluster.api import KeyValue, Versioned
from tael.cluster.lease import MEMBER_PREFIX, WRITER_PREFIX, Lease
from tael.errors import Conflict, Damaged, Rejected

FORMAT: Final = "tael-state/1"
_LEASES, _HEADS = "lease.", "cold."


async def take(kv: KeyValue, cluster_id: str) -> bytes:
    """Every key except those of members, as JSON: values in base64, with their revisions. Raises Unavailable."""
    keys = {
        value.key: {"revision": value.revision, "value": base64.b64encode(value.value).decode()}
        for value in await kv.list("")
        if not value.key.startswith(MEMBER_PREFIX)
    }
    taken = {"format": FORMAT, "cluster_id": cluster_id, "taken_at": round(time.time(), 3), "keys": keys}
    return json.dumps(taken, indent=1, sort_keys=True).encode() + b"\n"


async def put_back(kv: KeyValue, text: bytes, cluster_id: str) -> list[str]:
    """Write a file's keys into an empty bucket; return the keys written, sorted.

    Raises Rejected for a file that is not a backup, or is another cluster's; Conflict when the bucket has state already; Unavailable.
    """
    stored = _read(text, cluster_id)
    present = sorted(value.key for value in await kv.list("") if not value.key.startswith(MEMBER_PREFIX))
    if present:
        raise Conflict(
            f"the cluster has state already ({', '.join(present[:3])}, …): restore into an empty NATS, before any process is started"
        )
    values = {key: _without_holder(one) for key, one in stored.items() if not key.startswith((MEMBER_PREFIX, _HEADS))}
    # create(), not put(): the state of a coordinator that was started meanwhile must not be overwritten.
    for key, value in sorted(values.items()):
        await kv.create(key, value)
    return sorted(values)


def _without_holder(stored: Versioned) -> bytes:
    """The value to restore: a lease loses its holder, and a writer's lease gets a new generation. Tokens used since the backup must not be
    used again, or ClickHouse would drop new batches as duplicates. A damaged lease is restored unchanged, for a person to repair.
    """
    if not stored.key.startswith(_LEASES):
        return stored.value
    try:
        lease = Lease.decode(stored)
    except Damaged:
        return stored.value
    # An intent names entries of the WAL that was lost with the old NATS; the new epoch fences a writer that still runs.
    changes: dict[str, Any] = {"holder": "", "epoch": lease.epoch + 1, "intent": None}
    if stored.key.startswith(WRITER_PREFIX):
        # Random rather than incremented: restoring the same file twice must not lead to the same generation twice.
        changes["generation"] = secrets.randbits(48)
    return lease.model_copy(update=changes).encode()


def _read(text: bytes, cluster_id: str) -> Mapping[str, Versioned]:
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise Rejected(f"is {found['format']!r}", where="the file", accepted=FORMAT)
        keys = {
            str(key): Versioned(str(key), base64.b64decode(one["value"], validate=True), int(one["revision"]))
            for key, one in found["keys"].items()
        }
        source = str(found["cluster_id"])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise Rejected("is not a backup of a cluster's state", where="the file", accepted=FORMAT) from error
    if source != cluster_id:
        raise Rejected(f"is a backup of cluster {source!r}", where="the file", accepted=f"one of {cluster_id!r} (TAEL_CLUSTER_ID)")
    return keys
