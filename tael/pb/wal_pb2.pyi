from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WalRecord(_message.Message):
    __slots__ = ("tenant", "received_at", "request")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    received_at: int
    request: bytes
    def __init__(self, tenant: _Optional[str] = ..., received_at: _Optional[int] = ..., request: _Optional[bytes] = ...) -> None: ...

class WalBatch(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[WalRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[WalRecord, _Mapping]]] = ...) -> None: ...
