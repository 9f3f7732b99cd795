"""The gRPC listener of the query service: serves the services of every family, authenticates callers, and turns errors into statuses.

A call that is cancelled or past its deadline cancels its query and frees its slot. Shards that are missing from an answer are named in the
trailer ``tael-missing-shards``, because most messages have no field for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status

from services.query.api.rpc import Call, Method, Service
from services.query.settings import QuerySettings
from tael.auth import QUERY
from tael.errors import NotFound, Rejected, too_deep
from tael.model.tenant import TENANT_HEADER
from tael.otlp.status import status_of
from tael.runtime import rpc
from tael.runtime.access import Access
from tael.runtime.observe import get_logger

log = get_logger("query-grpc")
MISSING: Final = "tael-missing-shards"
_MAX_REQUEST_BYTES = 4 << 20
_DRAIN_SECONDS = 5.0


@contextlib.asynccontextmanager
async def serve(settings: QuerySettings, services: Iterable[Service], access: Access) -> AsyncIterator[rpc.Server | None]:
    """Listen while the block runs, then finish the accepted calls. Yields the server, or None where gRPC is off."""
    if settings.grpc_api_addr is None:
        yield None
        return
    sizes = [("grpc.max_receive_message_length", _MAX_REQUEST_BYTES), ("grpc.max_send_message_length", -1)]
    handlers = {service.name: _handler(service, access) for service in services}
    server = rpc.Server(handlers, [*rpc.options(settings), *sizes], drain_seconds=_DRAIN_SECONDS)
    async with server.listening(settings.grpc_api_addr, settings, what="the gRPC API's", variable="TAEL_GRPC_API_ADDR"):
        yield server


def _handler(service: Service, access: Access) -> Any:
    methods = {}
    for method in service.methods:
        if method.streamed:
            methods[method.name] = grpc.unary_stream_rpc_method_handler(_streamed(method, access))
        else:
            methods[method.name] = grpc.unary_unary_rpc_method_handler(_single(method, access))
    return grpc.method_handlers_generic_handler(service.name, methods)


def _streamed(method: Method, access: Access) -> Callable[[bytes, Any], AsyncIterator[bytes]]:
    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            async with contextlib.aclosing(_answer(method, access, request, context)) as messages:
                async for message in messages:
                    yield message.SerializeToString()
        except Exception as error:  # noqa: BLE001  # answered and, where nobody expected it, logged
            await rpc.abort(context, _status(error, method))

    return stream


def _single(method: Method, access: Access) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def single(request: bytes, context: Any) -> bytes:
        try:
            async with contextlib.aclosing(_answer(method, access, request, context)) as messages:
                return (await anext(messages)).SerializeToString()
        except Exception as error:  # noqa: BLE001  # answered and, where nobody expected it, logged
            await rpc.abort(context, _status(error, method))
            return b""

    return single


async def _answer(method: Method, access: Access, request: bytes, context: Any) -> AsyncGenerator[Message]:
    metadata = dict(context.invocation_metadata() or ())
    call = Call(access.tenant(QUERY, metadata.get("authorization"), metadata.get(TENANT_HEADER.lower())))
    try:
        message = method.request.FromString(request)
    except DecodeError as error:
        raise Rejected(f"the request is not a {method.request.DESCRIPTOR.full_name}") from error
    async with contextlib.aclosing(method.answer(call, message)) as messages:
        async for answer in messages:
            # Before each message: of a unary call only the first one is taken.
            if call.missing:
                context.set_trailing_metadata(((MISSING, ", ".join(call.missing)),))
            yield answer


def _status(error: Exception, method: Method) -> Status:
    """The status of any error of a query."""
    if isinstance(error, NotFound):
        return Status(code=code_pb2.NOT_FOUND, message=str(error))
    if isinstance(error, TimeoutError):
        return Status(code=code_pb2.DEADLINE_EXCEEDED, message="the deadline passed before every shard had answered")
    status = status_of(too_deep() if isinstance(error, RecursionError) else error)
    if status.code == code_pb2.INTERNAL:
        log.error("unhandled error", method=method.name, exc_info=error)
    return status
