"""Errors as ``google.rpc.Status`` with the details that tell an OTLP client what to do next, and export responses that fit.

Clients send again only what RetryInfo asks for (gRPC) or what has a retryable status (HTTP); so TooLarge carries no RetryInfo, and what a
retry may cure is never INTERNAL (OTLP specification, "Failures" and "Throttling").
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
    # A signal that is not received here is a method that is not implemented: clients give up and do not send it again.
    NotFound: code_pb2.UNIMPLEMENTED,
}


def status_of(error: BaseException) -> Status:
    """The status of any error; one that nobody expected is UNAVAILABLE when it came from a connection, else INTERNAL."""
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
    """The answer to an export; ``partial_success`` stays unset when there is nothing to say."""
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
    """A status in protobuf's JSON form, details spelled out."""
    return json_format.MessageToJson(status, indent=None).encode()
