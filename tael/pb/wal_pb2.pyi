from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WalRecord(_message.Message):
    __slots__ = ("tenant", "received_at", "request", "digest", "items")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    received_at: int
    request: bytes
    digest: bytes
    items: int
    def __init__(self, tenant: _Optional[str] = ..., received_at: _Optional[int] = ..., request: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., items: _Optional[int] = ...) -> None: ...

class WalBatch(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[WalRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[WalRecord, _Mapping]]] = ...) -> None: ...

class WrittenDigests(_message.Message):
    __slots__ = ("generation", "through", "entries")
    class Entry(_message.Message):
        __slots__ = ("appended_at", "digests")
        APPENDED_AT_FIELD_NUMBER: _ClassVar[int]
        DIGESTS_FIELD_NUMBER: _ClassVar[int]
        appended_at: int
        digests: bytes
        def __init__(self, appended_at: _Optional[int] = ..., digests: _Optional[bytes] = ...) -> None: ...
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    generation: int
    through: int
    entries: _containers.RepeatedCompositeFieldContainer[WrittenDigests.Entry]
    def __init__(self, generation: _Optional[int] = ..., through: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[WrittenDigests.Entry, _Mapping]]] = ...) -> None: ...
