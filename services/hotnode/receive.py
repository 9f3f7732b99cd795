"""Reads a request to its end, decompresses it, and separates the statement from the rows that follow it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import BodyPartReader, web

from services.hotnode import statement
from services.hotnode.call import Call, read_call
from services.hotnode.codec import Decoder, request_decoders
from services.hotnode.errors import BAD_ARGUMENTS, QUERY_IS_TOO_LARGE, READONLY, failed
from services.hotnode.guard import Rules, check_name, check_settings, check_statement
from services.hotnode.run import Job
from services.hotnode.spool import Spool

_INSERT_TEXT_BYTES: Final = 1 << 20
_QUERY_TEXT_BYTES: Final = 64 << 20
_VALUES_TEXT_BYTES: Final = 256 << 10
_OFF_LOOP_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Received:
    """A completely received request: the call and its body."""

    call: Call
    body: Spool


async def receive(request: web.Request, call: Call, new_spool: Callable[[], Spool], stack: contextlib.ExitStack) -> Received:
    """Read a whole request; ``stack`` closes its spools. Raises StatementFailed for a body that is malformed or cannot be decompressed."""
    body = stack.enter_context(contextlib.closing(new_spool()))
    if request.content_type == "multipart/form-data":
        return Received(await _form_call(request), body)
    decoders = request_decoders(request.headers.get("Content-Encoding", ""))
    async for chunk in request.content.iter_any():
        body.append(await _decode(decoders, chunk))
    body.append(_finish(decoders))
    return Received(call, body)


async def _decode(decoders: Sequence[Decoder], chunk: bytes) -> bytes:
    """Decompress small pieces here, larger ones in a thread, to keep the event loop free."""
    if not decoders:
        return chunk
    if len(chunk) < _OFF_LOOP_BYTES:
        return _through(decoders, chunk)
    return await asyncio.to_thread(_through, decoders, chunk)


def _through(decoders: Sequence[Decoder], chunk: bytes) -> bytes:
    for decoder in decoders:
        chunk = decoder.decode(chunk)
    return chunk


async def _form_call(request: web.Request) -> Call:
    """A call whose fields come in a form, which clients use for parameters too long for a URL. Raises StatementFailed for an
    uploaded file.
    """
    fields = list(request.query.items())
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            raise failed(BAD_ARGUMENTS, "A multipart request has a part without a name")
        if part.filename is not None:
            raise failed(BAD_ARGUMENTS, "Files in a multipart request (external tables) are not supported: send rows in the body")
        fields.append((part.name, await _form_field(part.name, part)))
    return read_call(request.method, fields, request.headers)


async def _form_field(name: str, part: BodyPartReader) -> str:
    try:
        return await part.text()
    # Bytes of another encoding than the part's, an encoding that Python does not know, or one of a transfer that aiohttp does not.
    except (ValueError, LookupError, RuntimeError) as error:
        raise failed(BAD_ARGUMENTS, f"Cannot decode the form field '{name}': send it as UTF-8") from error


def _finish(decoders: Sequence[Decoder]) -> bytes:
    rest = b""
    # What one decoder still had passes through all the following ones.
    for decoder in decoders:
        rest = (decoder.decode(rest) if rest else b"") + decoder.finish()
    return rest


def make_job(received: Received, rules: Rules) -> Job:
    """Parse the statement, which is the URL's text, a line break and the body. Raises StatementFailed if it is malformed or ``rules``
    forbid it.
    """
    call, body = received.call, received.body
    check_settings(call.settings)
    check_name("format", call.default_format)
    head = call.query + b"\n" if call.query else b""
    verb = statement.verb_of(head or body.start(_INSERT_TEXT_BYTES))
    if call.only_reads and statement.changes_something(verb):
        raise failed(READONLY, f"default: Cannot execute query in readonly mode.{call.why_only_reads}")
    if verb == "INSERT":
        insert = statement.parse_insert(head + body.start(_INSERT_TEXT_BYTES))
        if insert is not None:
            # A statement that ends in the URL may have its first rows there; the others follow in the body.
            if in_url := head[insert.rows_at :].strip():
                body.prepend(in_url + b"\n")
            # rows_at counts from the start of the URL's text; within the body it is smaller by that text.
            return _insert(received, insert, max(0, insert.rows_at - len(head)), rules)
    if body.size > _QUERY_TEXT_BYTES:
        raise failed(QUERY_IS_TOO_LARGE, f"The statement is larger than {_QUERY_TEXT_BYTES} bytes")
    text = head + body.start(_QUERY_TEXT_BYTES)
    query = statement.parse_query(text)
    check_statement(text, call.params, rules)
    return Job(call, query, body, 0)


def _insert(received: Received, insert: statement.Insert | statement.InsertFromInput, rows_at: int, rules: Rules) -> Job:
    """An INSERT with rows. Rows of VALUES are SQL: if they are short they are checked and may be evaluated, else they must be
    plain values.
    """
    call, body = received.call, received.body
    check_statement(insert.sql, call.params, rules)
    check_name("format", insert.input_format)
    evaluates = isinstance(insert, statement.Insert) and insert.input_format == "Values" and body.size - rows_at <= _VALUES_TEXT_BYTES
    if evaluates:
        # All rows are checked: an expression in any of them could call a function that the guard refuses.
        check_statement(body.start(rows_at + _VALUES_TEXT_BYTES)[rows_at:], call.params, rules)
    return Job(call, insert, body, rows_at, evaluates=evaluates)
