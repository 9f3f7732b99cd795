"""Deletions for admins, under ``/api/v1/deletions``: of a trace, or of everything of a user, a session or a tenant.

An admin token of one tenant deletes that tenant's data; a token for any tenant deletes data of the tenant that the request names.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.span_json import rfc3339
from services.query.api.tenant import reach_of, tenant_of
from services.query.parameters import Parameters, parse_trace_id
from tael.auth import ADMIN
from tael.cluster.api import KeyValue
from tael.cluster.deletions import KINDS, Deletion, Deletions, Progress, state_of
from tael.cluster.shard import SHARD_MAP_KEY, ShardMap, shard_name
from tael.errors import NotFound, Rejected, Unavailable
from tael.model.tenant import parse_tenant
from tael.runtime.http import json_response
from tael.runtime.observe import get_logger

log = get_logger("audit")
_PATH: Final = "/api/v1/deletions"
_DEFAULT_LIMIT, _MAX_LIMIT, _MAX_VALUE = 100, 1000, 1000
_ACCEPTED: Final = f"one of {', '.join(KINDS)}"


class DeletionApi:
    """The handlers, over the cluster's bucket."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._deletions = Deletions(kv)

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("POST", _PATH, self.ask, ADMIN),
            Route("GET", _PATH, self.list, ADMIN),
            Route("GET", f"{_PATH}/{{id}}", self.show, ADMIN),
        ]

    async def ask(self, request: web.Request) -> web.Response:
        """``POST``: delete everything received so far of a ``trace``, ``user``, ``session`` or ``tenant``; answers the deletion with its
        id.
        """
        parameters = Parameters(request.query.items(), known=KINDS)
        given = [kind for kind in KINDS if parameters.text(kind)]
        if not given:
            empty = next((kind for kind in KINDS if kind in request.query), None)
            raise Rejected(
                "empty" if empty else "missing", where=empty or ", ".join(KINDS), accepted=f"{_ACCEPTED} in the URL, such as ?user=NAME"
            )
        if len(given) != 1:
            raise Rejected(f"{' and '.join(given)} are given together", where="query", accepted=_ACCEPTED)
        [kind] = given
        tenant, value = tenant_of(request), parameters.text(kind)
        if kind == "trace":
            value = parse_trace_id(value).hex()
        elif kind == "tenant":
            tenant = _own(request, parse_tenant(value))
        elif len(value) > _MAX_VALUE:
            raise Rejected(f"it has {len(value)} characters", where=kind, accepted=f"at most {_MAX_VALUE}")
        stored = await self._kv.get(SHARD_MAP_KEY)
        if stored is None:
            raise Unavailable("no shard is known yet")
        shards = len(ShardMap.decode(stored).shards)
        deletion = await self._deletions.request(tenant, kind, value, now_ns=time.time_ns(), shards=shards)
        log.info("deletion requested", id=deletion.id, tenant=tenant, kind=kind, value=value, by=request.remote)
        return json_response(_shown(deletion, {}), status=202)

    async def list(self, request: web.Request) -> web.Response:
        """``GET``: requested deletions, newest first, with their state."""
        parameters = Parameters(request.query.items(), known=("limit",))
        limit = parameters.whole("limit", default=_DEFAULT_LIMIT, low=1, high=_MAX_LIMIT)
        reach = reach_of(request)
        found = (await self._deletions.list(lambda one: reach in (None, one.tenant)))[::-1][:limit]
        return json_response({"deletions": [_shown(one, await self._deletions.progress(one)) for one in found]})

    async def show(self, request: web.Request) -> web.Response:
        """``GET /{id}``: one deletion, and the progress of each shard."""
        found = await self._deletions.get(request.match_info["id"]) if request.match_info["id"].isalnum() else None
        if found is None or reach_of(request) not in (None, found.tenant):
            raise NotFound(f"deletion {request.match_info['id'][:60]} was not found")
        return json_response(_shown(found, await self._deletions.progress(found)))


def _own(request: web.Request, tenant: str) -> str:
    """Check that the caller may delete ``tenant``: its own, or any for a caller that may act for any and names none. Raises Rejected."""
    if reach_of(request) not in (None, tenant):
        raise Rejected(f"{tenant} is not the tenant of this request, {tenant_of(request)}", where="tenant", accepted=tenant_of(request))
    return tenant


def _shown(deletion: Deletion, progress: Mapping[int, Progress]) -> dict[str, Any]:
    shards = [(shard, progress.get(shard, Progress())) for shard in range(deletion.shards)]
    return {
        "id": deletion.id,
        "tenant": deletion.tenant,
        "kind": deletion.kind,
        "value": deletion.value,
        "requested_at": rfc3339(deletion.requested_ns),
        "state": state_of(deletion, progress),
        "rows": sum(one.rows for _, one in shards),
        "shards": [
            {"shard": shard_name(shard), "state": one.state, "rows": one.rows, "reason": one.reason or None} for shard, one in shards
        ],
    }
