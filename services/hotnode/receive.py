"""Reads a request to its end: decompressed, form fields taken apart, and the statement told from the rows that follow it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import BodyPartReader, web

from services.hotnode import statement
from services.hotnode.call import Call, read_call
from services.hotnode.codec import Decoder, request_decoders
from services.hotnode.errors import BAD_ARGUMENTS, QUERY_IS_TOO_LARGE, READONLY, failed
from services.hotnode.run import ExternalTable, Job
from services.hotnode.spool import Spool

_INSERT_TEXT_BYTES: Final = 1 << 20
_QUERY_TEXT_BYTES: Final = 64 << 20
_OFF_LOOP_BYTES: Final = 64 << 10
_TABLE_FIELDS: Final = ("_format", "_types", "_structure")


@dataclass(frozen=True, slots=True)
class Received:
    """A request at its end: the call with its form fields, the rest of the body, and the tables that came along."""

    call: Call
    body: Spool
    external: Sequence[ExternalTable] = ()


async def receive(request: web.Request, call: Call, new_spool: Callable[[], Spool], stack: contextlib.ExitStack) -> Received:
    """Read all of it; the spools are closed by ``stack``. Raises StatementFailed for what cannot be decompressed or is malformed."""
    body = stack.enter_context(contextlib.closing(new_spool()))
    if request.content_type == "multipart/form-data":
        return await _receive_form(request, body, new_spool, stack)
    decoders = request_decoders(request.headers.get("Content-Encoding", ""), native_blocks=call.native_in)
    async for chunk in request.content.iter_any():
        body.append(await _decode(decoders, chunk))
    body.append(_finish(decoders))
    return Received(call, body)


async def _decode(decoders: Sequence[Decoder], chunk: bytes) -> bytes:
    """Small pieces here, larger ones in a thread: the event loop has others to serve."""
    if not decoders:
        return chunk
    if len(chunk) < _OFF_LOOP_BYTES:
        return _through(decoders, chunk)
    return await asyncio.to_thread(_through, decoders, chunk)


def _through(decoders: Sequence[Decoder], chunk: bytes) -> bytes:
    for decoder in decoders:
        chunk = decoder.decode(chunk)
    return chunk


def _finish(decoders: Sequence[Decoder]) -> bytes:
    rest = b""
    for decoder in decoders:
        rest = (decoder.decode(rest) if rest else b"") + decoder.finish()
    return rest


async def _receive_form(request: web.Request, body: Spool, new_spool: Callable[[], Spool], stack: contextlib.ExitStack) -> Received:
    """Form fields count as URL parameters, files are external tables."""
    fields = list(request.query.items())
    files: dict[str, Spool] = {}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise failed(BAD_ARGUMENTS, "A multipart request has a part without a name")
        if part.filename is None:
            fields.append((part.name, await part.text()))
            continue
        rows = files[part.name] = stack.enter_context(contextlib.closing(new_spool()))
        while chunk := await part.read_chunk(_OFF_LOOP_BYTES):
            rows.append(bytes(chunk))
    owned = {name + suffix for name in files for suffix in _TABLE_FIELDS}
    call = read_call(request.method, [(name, value) for name, value in fields if name not in owned], request.headers)
    given = dict(fields)
    tables = [
        ExternalTable(name, _structure(given, name), given.get(f"{name}_format", "TabSeparated"), rows) for name, rows in files.items()
    ]
    return Received(call, body, tables)


def _structure(given: Mapping[str, str], name: str) -> str:
    if structure := given.get(f"{name}_structure"):
        return structure
    if types := given.get(f"{name}_types"):
        return ", ".join(f"_{index} {kind}" for index, kind in enumerate(types.split(","), 1))
    raise failed(BAD_ARGUMENTS, f"Neither structure nor types of the external table {name} are given")


def make_job(received: Received) -> Job:
    """Read the statement: the URL's text, a line break and the body follow one another. Raises StatementFailed."""
    call, body = received.call, received.body
    head = call.query + b"\n" if call.query else b""
    verb = statement.verb_of(head or body.start(_INSERT_TEXT_BYTES))
    if call.only_reads and statement.changes_something(verb):
        raise failed(READONLY, f"default: Cannot execute query in readonly mode.{call.why_only_reads}")
    if verb == "INSERT":
        insert = statement.parse_insert(head + body.start(_INSERT_TEXT_BYTES))
        if insert is not None:
            if in_url := head[insert.rows_at :].strip():
                body.prepend(in_url + b"\n")
            return Job(call, insert, body, max(0, insert.rows_at - len(head)), received.external)
    if body.size > _QUERY_TEXT_BYTES:
        raise failed(QUERY_IS_TOO_LARGE, f"The statement is larger than {_QUERY_TEXT_BYTES} bytes")
    return Job(call, statement.parse_query(head + body.start(_QUERY_TEXT_BYTES)), body, 0, received.external)
