"""Errors as ``google.rpc.Status`` with the details that OTLP clients act on, and export responses within the size limit.

Clients retry only after RetryInfo (gRPC) or a retryable status (HTTP). So TooLarge carries no RetryInfo, and an error that a retry may cure
is never INTERNAL (OTLP specification, "Failures" and "Throttling").
"""

from __future__ import annotations

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

from tael.errors import Forbidden, NotFound, Overloaded, Rejected, Retryable, TooLarge, Unauthenticated
from tael.otlp.signals import Signal

MAX_RESPONSE_BYTES = 4 << 20
_MAX_MESSAGE_BYTES = 64 << 10
_PLAIN: dict[type[BaseException], int] = {
    Unauthenticated: code_pb2.UNAUTHENTICATED,
    Forbidden: code_pb2.PERMISSION_DENIED,
    # A signal that this server does not receive is an unimplemented method: clients give up and do not retry.
    NotFound: code_pb2.UNIMPLEMENTED,
}


def status_of(error: BaseException) -> Status:
    """The status of any error; an unexpected one is UNAVAILABLE if it came from a connection or a timeout, else INTERNAL."""
    match error:
        case TooLarge():
            return _status(code_pb2.RESOURCE_EXHAUSTED, str(error))
        case Rejected():
            return _status(code_pb2.INVALID_ARGUMENT, str(error), _bad_request(error))
        case Unauthenticated() | Forbidden() | NotFound():
            return _status(_PLAIN[type(error)], str(error))
        case Retryable():
            code = code_pb2.RESOURCE_EXHAUSTED if isinstance(error, Overloaded) else code_pb2.UNAVAILABLE
            return _status(code, str(error), _retry_info(error.retry_after_seconds))
        case OSError() | TimeoutError():
            return _status(code_pb2.UNAVAILABLE, "a part that this request needs did not answer", _retry_info(1.0))
        case _:
            return _status(code_pb2.INTERNAL, "internal error; the log of this process has the details")


def _status(code: int, message: str, *details: Message) -> Status:
    status = Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _retry_info(seconds: float) -> RetryInfo:
    return RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9)))


def _bad_request(error: Rejected) -> BadRequest:
    description = f"{error.reason} (accepted: {error.accepted})" if error.accepted else error.reason
    return BadRequest(field_violations=[BadRequest.FieldViolation(field=error.where or "body", description=description)])


def export_response(signal: Signal, rejected: int, message: str) -> Message:
    """The response to an export; ``partial_success`` is unset when nothing was refused and there is no warning."""
    response = signal.response()
    if rejected or message:
        text = message.encode()
        if len(text) > _MAX_MESSAGE_BYTES:
            text = text[:_MAX_MESSAGE_BYTES] + "… (shortened)".encode()
        partial = response.partial_success  # type: ignore[attr-defined]  # every export response has it
        setattr(partial, signal.rejected, rejected)
        partial.error_message = text.decode(errors="ignore")
    return response


def status_json(status: Message) -> bytes:
    """A status in protobuf's JSON form, with its details."""
    return json_format.MessageToJson(status, indent=None).encode()
