"""The cold tier for admins, under ``/api/v1/admin/cold``: its state, rolling hours by hand, and restoring manifests from the bucket."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.partial import partial_json
from services.query.api.native.span_json import rfc3339
from services.query.backend import ColdTier
from services.query.parameters import Parameters, parse_instant_ns
from tael.auth import ADMIN
from tael.cluster.cold import ShardCold
from tael.cluster.shard import shard_name
from tael.cold.plan import Partition
from tael.errors import Rejected
from tael.model.time import MAX_NS
from tael.runtime.http import json_response

_PATH = "/api/v1/admin/cold"


class ColdApi:
    """The handlers."""

    def __init__(self, cold: ColdTier) -> None:
        self._cold = cold

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("GET", _PATH, self.show, ADMIN),
            Route("POST", f"{_PATH}/roll", self.roll, ADMIN),
            Route("POST", f"{_PATH}/rebuild", self.rebuild, ADMIN),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """``GET``: each shard's files, hours on their way, and hot hours that ended before ``before`` (now without it)."""
        before = Parameters(request.query.items(), known=("before",)).text("before")
        # An hour that is not over yet has not ended before a time to come either: nobody would see it roll.
        before_ns = min(parse_instant_ns(before, where="before") if before else MAX_NS, time.time_ns())
        answer = await self._cold.look()
        shards = [_shard_json(shard, before_ns) for shard in answer.value.shards]
        asked = rfc3339(answer.value.asked_ns) if answer.value.asked_ns else None
        return json_response({"shards": shards, "asked_before": asked, **partial_json(answer.missing)})

    async def roll(self, request: web.Request) -> web.Response:
        """``POST /roll``: roll hours that ended before ``before`` now; this also applies to rows of these hours that arrive later."""
        before = Parameters(request.query.items(), known=("before",)).text("before")
        if not before:
            raise Rejected("is missing", where="before", accepted="an instant")
        # The request stays in force: one for a time to come would end the hot window for good.
        before_ns = min(parse_instant_ns(before, where="before"), time.time_ns())
        await self._cold.roll(before_ns)
        return json_response({"asked_before": rfc3339(before_ns)}, status=202)

    async def rebuild(self, request: web.Request) -> web.Response:
        """``POST /rebuild``: restore missing or damaged manifests from the bucket, with ``force=true`` all of them."""
        force = Parameters(request.query.items(), known=("force",)).choice("force", ("", "true", "false")) == "true"
        shards = await self._cold.rebuild(force=force)
        return json_response({"restoring": [shard_name(shard) for shard in shards]}, status=202)


def _shard_json(shard: ShardCold, before_ns: int) -> dict[str, Any]:
    head = shard.head
    return {
        "shard": shard_name(shard.shard),
        "manifest": shard.state,
        "revision": head.revision,
        "epoch": head.epoch,
        "tables": [
            {"table": table, "files": held.files, "rows": held.rows, "bytes": held.bytes, "from": rfc3339(first), "to": rfc3339(last)}
            for table, held in sorted(head.held.items())
            for first, last in [head.cold[table]]
        ],
        "on_their_way": [{"table": one.table, "hour": rfc3339(one.hour_ns), "state": one.state} for one in head.open],
        "hot": _partitions_json(shard.hot or ()),
        "hot_before": _partitions_json(shard.waiting(before_ns)),
    }


def _partitions_json(partitions: Sequence[Partition]) -> dict[str, Any]:
    oldest = min((one.hour_ns for one in partitions), default=None)
    return {
        "hours": len(partitions),
        "rows": sum(one.rows for one in partitions),
        "bytes": sum(one.bytes for one in partitions),
        "oldest": None if oldest is None else rfc3339(oldest),
    }
