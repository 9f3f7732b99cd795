"""The cluster's state as a file: what is taken of a key-value store, and what is put back into an empty one.

Of the keys, three kinds are not put back: members are whoever beats; a lease's holder is gone; and the heads of the cold tier's manifests are
newer in the bucket, where the compactor finds them (docs/adr/0014).
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
    """Every key but those of members, as JSON: values in base64, with their revisions. Raises Unavailable."""
    keys = {
        value.key: {"revision": value.revision, "value": base64.b64encode(value.value).decode()}
        for value in await kv.list("")
        if not value.key.startswith(MEMBER_PREFIX)
    }
    taken = {"format": FORMAT, "cluster_id": cluster_id, "taken_at": round(time.time(), 3), "keys": keys}
    return json.dumps(taken, indent=1, sort_keys=True).encode() + b"\n"


async def put_back(kv: KeyValue, text: bytes, cluster_id: str) -> list[str]:
    """Write a file's keys into a bucket that has none of them; the keys written, sorted.

    Raises Rejected for what is no such file or another cluster's, Conflict where the bucket has state already, Unavailable.
    """
    stored = _read(text, cluster_id)
    present = sorted(value.key for value in await kv.list("") if not value.key.startswith(MEMBER_PREFIX))
    if present:
        raise Conflict(
            f"the cluster has state already ({', '.join(present[:3])}, …): restore into a NATS without it, before anything is started"
        )
    values = {key: _without_holder(one) for key, one in stored.items() if not key.startswith((MEMBER_PREFIX, _HEADS))}
    # create() and not put(): a coordinator that was started meanwhile has written first, and its state must not be overwritten.
    for key, value in sorted(values.items()):
        await kv.create(key, value)
    return sorted(values)


def _without_holder(stored: Versioned) -> bytes:
    """A lease that nobody holds. A writer's gets a new generation: tokens given since the file was taken must not be given again, or ClickHouse
    would take new batches for those. A lease that is damaged stays as it is, for somebody to look at.
    """
    if not stored.key.startswith(_LEASES):
        return stored.value
    try:
        lease = Lease.decode(stored)
    except Damaged:
        return stored.value
    # An intent names entries of a WAL that went with the NATS it was taken from; the new epoch fences a writer that still runs.
    changes: dict[str, Any] = {"holder": "", "epoch": lease.epoch + 1, "intent": None}
    if stored.key.startswith(WRITER_PREFIX):
        # Random and not one more: a store that was restored twice from the same file must not count to the same generation.
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
        of = str(found["cluster_id"])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise Rejected("is no backup of a cluster's state", where="the file", accepted=FORMAT) from error
    if of != cluster_id:
        raise Rejected(f"is of the cluster {of!r}", where="the file", accepted=f"one of {cluster_id!r} (TAEL_CLUSTER_ID)")
    return keys
