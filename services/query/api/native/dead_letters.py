"""Dead letters for admins, under ``/api/v1/admin/deadletters``: the items that storage refused and why, and appending them to the WAL
again.

An admin token of one tenant sees that tenant's letters; one for any tenant sees all, or those of the tenant that the request names.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from services.query.api.family import Route
from services.query.api.tenant import reach_of
from services.query.parameters import Parameters
from tael.auth import ADMIN
from tael.errors import NotFound, Rejected
from tael.otlp.signals import STORED
from tael.runtime.http import json_response
from tael.wal import codec
from tael.wal.api import Buried, DeadLetters, WalAppender

_FILTERS = ("after", "limit", "signal", "shard")
_DEFAULT_LIMIT, _MAX_LIMIT, _MAX_ID = 100, 1000, 10**17
_PATH = "/api/v1/admin/deadletters"


class DeadLetterApi:
    """The handlers, over the letters and the WAL for replays."""

    def __init__(self, letters: DeadLetters, appender: WalAppender) -> None:
        self._letters = letters
        self._appender = appender

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("GET", _PATH, self.list, ADMIN),
            Route("GET", f"{_PATH}/{{id}}", self.show, ADMIN),
            Route("POST", f"{_PATH}/{{id}}/replay", self.replay, ADMIN),
            Route("DELETE", f"{_PATH}/{{id}}", self.drop, ADMIN),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """``GET``: the oldest letters that match ``signal`` and ``shard``; ``next`` is the ``after`` of the next page, null at the end."""
        parameters = Parameters(request.query.items(), known=_FILTERS)
        after = parameters.whole("after", default=0, low=0, high=_MAX_ID)
        found = await self._letters.list(after, parameters.whole("limit", default=_DEFAULT_LIMIT, low=1, high=_MAX_LIMIT))
        more = await self._letters.list(found[-1].letter_id, 1) if found else ()
        wanted = {name: parameters.text(name) for name in ("signal", "shard") if parameters.text(name)}
        shown = [entry for buried in found if _visible(request, buried) and _matches(entry := _entry(buried), wanted)]
        return json_response({"letters": shown, "next": found[-1].letter_id if more else None})

    async def show(self, request: web.Request) -> web.Response:
        """``GET /{id}``: the letter with its body, decoded as far as possible."""
        buried = await self._get(request)
        return json_response({**_entry(buried), "records": _records(buried), "body": base64.b64encode(buried.letter.body).decode()})

    async def replay(self, request: web.Request) -> web.Response:
        """``POST /{id}/replay``: append the body to its shard's WAL again, and delete the letter once that is durable.

        The body gets digests made from the letter's id: so the writer does not drop the replay as a resend of the original request, and a
        replay whose answer was lost can be repeated within two minutes.
        """
        buried = await self._get(request)
        letter, name = buried.letter, f"dead-letter:{buried.letter_id}"
        await self._appender.append(letter.shard, letter.signal, codec.with_digests(letter.body, name), letter.items, name)
        await self._letters.drop(buried.letter_id)
        return json_response({**_entry(buried), "replayed": True})

    async def drop(self, request: web.Request) -> web.Response:
        """``DELETE /{id}``: delete the letter for good."""
        buried = await self._get(request)
        await self._letters.drop(buried.letter_id)
        return json_response({**_entry(buried), "dropped": True})

    async def _get(self, request: web.Request) -> Buried:
        text = request.match_info["id"]
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Rejected(f"{text[:60]!r} is not a dead letter's id", where="id", accepted="a number from the list")
        buried = await self._letters.get(int(text))
        if buried is None or not _visible(request, buried):
            raise NotFound(f"dead letter {text} was not found")
        return buried


def _tenants(buried: Buried) -> set[str]:
    try:
        return {record.tenant for record in codec.decode(buried.letter.body)}
    except DecodeError:
        return set()


def _visible(request: web.Request, buried: Buried) -> bool:
    reach = reach_of(request)
    return reach is None or _tenants(buried) == {reach}


def _matches(entry: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(str(entry[name]) == value for name, value in wanted.items())


def _entry(buried: Buried) -> dict[str, Any]:
    letter = buried.letter
    return {
        "id": buried.letter_id,
        "tenant": ",".join(sorted(_tenants(buried))),
        "signal": letter.signal,
        "items": letter.items,
        "bytes": len(letter.body),
        "reason": letter.reason,
        "shard": letter.shard,
        "sequence": letter.sequence,
        "age_seconds": max(0.0, round(time.time() - buried.buried_at_ns / 1e9, 1)),
    }


def _records(buried: Buried) -> list[dict[str, Any]]:
    """Each record's request as protobuf's JSON, null where it cannot be read."""
    kind = STORED[buried.letter.signal]
    try:
        records = codec.decode(buried.letter.body)
        return [
            {"tenant": record.tenant, "received_at_ns": str(record.received_at), "request": _read(kind, record.request)}
            for record in records
        ]
    except DecodeError:
        return []


def _read(kind: type[Message], body: bytes) -> Any:
    try:
        return MessageToDict(kind.FromString(body))
    except (DecodeError, ValueError):
        return None
