"""The only module that uses clickhouse_connect: a shard's ClickHouse over HTTP, with limits on every call and errors that say what to do
next.

Callers provide the SQL. It connects on the first call and again after a failure, so a shard may be down when a process starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from prometheus_client import REGISTRY, Counter

from tael.errors import Overloaded, Rejected, TaelError, TooLarge, Unavailable, Unreadable
from tael.runtime.observe import get_logger
from tael.runtime.tls import ClientTls
from tael.storage.clickhouse.pulse import Pulse
from tael.storage.clickhouse.summaries import count_reads
from tael.storage.work import is_measured

Row: TypeAlias = Sequence[Any]

_OVERLOADED: Final = {
    202: 1.0,  # TOO_MANY_SIMULTANEOUS_QUERIES
    241: 2.0,  # MEMORY_LIMIT_EXCEEDED
    252: 5.0,  # TOO_MANY_PARTS
}
_DATA_CODES: Final = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        33,  # CANNOT_READ_ALL_DATA
        36,  # BAD_ARGUMENTS
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        117,  # INCORRECT_DATA
        128,  # TOO_LARGE_ARRAY_SIZE
        131,  # TOO_LARGE_STRING_SIZE
        190,  # SIZES_OF_ARRAYS_DONT_MATCH
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
        427,  # CANNOT_COMPILE_REGEXP
        434,  # CANNOT_PARSE_PROTOBUF_SCHEMA
        436,  # PROTOBUF_BAD_CAST
        437,  # PROTOBUF_FIELD_NOT_REPEATED
        444,  # UNKNOWN_PROTOBUF_FORMAT
        636,  # CANNOT_EXTRACT_TABLE_STRUCTURE
    }
)
_DAMAGED_CODES: Final = frozenset(
    {
        40,  # CHECKSUM_DOESNT_MATCH
        226,  # NO_FILE_IN_DATA_PART
        228,  # UNEXPECTED_FILE_IN_DATA_PART
        246,  # CORRUPTED_DATA
        271,  # CANNOT_DECOMPRESS
    }
)
_OBJECT_CODES: Final = frozenset(
    {
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        33,  # CANNOT_READ_ALL_DATA
        53,  # TYPE_MISMATCH
        117,  # INCORRECT_DATA
        271,  # CANNOT_DECOMPRESS
        499,  # S3_ERROR
        636,  # CANNOT_EXTRACT_TABLE_STRUCTURE
        1000,  # POCO_EXCEPTION
        1001,  # STD_EXCEPTION
    }
)
_OBJECT: Final = re.compile(r"while reading '([^']+)' in bucket|in file/uri ([^)]+)\)")
_S3_ERROR: Final = 499
_NOT_FOUND: Final = "HTTP response code: 404"
_NO_RESPONSE: Final = f"HTTP response code: {(1 << 64) - 1}"
"""As the server writes -1: a timeout, or a connection that was refused."""
_RESULT_TOO_LARGE: Final = frozenset({158, 396})
# Messages are matched where a code has several causes: 241 is a query over its own limit or a server out of memory, 252 may be the insert's
# fault.
OUT_OF_MEMORY: Final = "MEMORY_LIMIT_EXCEEDED"
_TOO_SPREAD: Final = "Too many partitions for single INSERT block"
_TOO_LONG: Final = ("Max query size exceeded", "Maximum parse depth")
_BODY_TOO_LONG: Final = "HTTP status 413"
_OWN_LIMIT: Final = "Query memory limit exceeded"
_NARROWER: Final = "it takes more memory than a shard gives to one query; ask for less"


_APART: Final = {
    "use_uncompressed_cache": 1,
    "merge_tree_min_rows_for_concurrent_read": 4 * 8192,
    "merge_tree_min_bytes_for_concurrent_read": 4 * 10 << 20,
}
"""The server compares the larger of the two, in granules of 8192 rows and, at most, 10 MiB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one statement. ``seconds`` is enforced by the server and, a little later, by this client.

    Without ``prewhere`` all columns are read at once, whatever the conditions; without ``steps`` only the columns of all conditions are.
    ``apart`` is for rows that lie apart, each in a granule of its own of which everything is decompressed: threads share these from few on,
    and the server keeps what it decompressed, because the next page and the traces of this one are in the same granules.
    """

    seconds: float
    memory_bytes: int = 0
    threads: int = 0
    result_rows: int = 0
    prewhere: bool = True
    steps: bool = True
    apart: bool = False

    def settings(self) -> dict[str, Any]:
        """As ClickHouse's settings."""
        # 0 makes the server go by the clock; otherwise it ends a statement early by an estimate of how long it will take.
        settings: dict[str, Any] = {"max_execution_time": self.seconds, "timeout_before_checking_execution_speed": 0}
        if self.memory_bytes:
            settings["max_memory_usage"] = self.memory_bytes
            # How far the Parquet reader reads ahead; the default of up to 4 GiB is more than a query may use.
            settings["input_format_parquet_memory_high_watermark"] = self.memory_bytes // 8
        if self.threads:
            settings["max_threads"] = self.threads
        if self.result_rows:
            settings |= {"max_result_rows": self.result_rows, "result_overflow_mode": "throw"}
        if not self.prewhere:
            settings["optimize_move_to_prewhere"] = 0
        if not self.steps:
            settings["enable_multiple_prewhere_read_steps"] = 0
        if self.apart:
            settings |= _APART
        return settings


QUERY_LIMITS = Limits(seconds=30, memory_bytes=1 << 30, result_rows=1_000_000)
ROWS_LIMITS = Limits(seconds=30, memory_bytes=1 << 30, result_rows=1_000_000, threads=2, apart=True)
"""For reads of whole rows by their keys. A second thread halves their time for a tenth more of processor time, and takes some 60 MB of
memory.
"""
POINT_LIMITS = Limits(seconds=30, memory_bytes=1 << 30, result_rows=1_000_000, threads=1)
"""For reads of a few granules, which would be slower with more threads."""
SMALL_LIMITS = Limits(seconds=30, memory_bytes=1 << 30, result_rows=1_000_000, prewhere=False)
"""For reads of tables that have few rows in many parts: opening the parts is most of their cost, and each condition read by itself opens
them again.
"""
INSERT_LIMITS = Limits(seconds=120, memory_bytes=4 << 30)
"""An insert takes several times the size of its body. The writer halves a batch that takes more than this."""
DDL_LIMITS = Limits(seconds=120)
_GRACE_SECONDS: Final = 5.0
_EXCEPTION_BYTES: Final = 32 << 10
_EXCEPTION: Final = re.compile(rb"\r\n__exception__\r\n(\w+)\r\n(Code: (\d+)\..*)\n\d+ \1\r\n__exception__\r\n\Z", re.DOTALL)
_REASON_CHARS: Final = 2_000
_DAMAGED_READS = Counter(
    "tael_clickhouse_damaged_reads", "Statements that failed because of a damaged part.", ["server"], registry=REGISTRY
)
log = get_logger("clickhouse")


class ClickHouse:
    """One shard's ClickHouse. Safe for concurrent use in one event loop; ``close`` it when done.

    Every call raises only the errors of ``translate``. A call without an answer raises Unavailable a little after its limit (the server
    ends it at the limit), and at the latest after ``patience_seconds``. A read raises Unavailable as soon as the server hangs, that is,
    leaves a ping unanswered (``pulse``): other shards' answers must not wait for it as long as for a server that is merely slow.
    """

    def __init__(
        self,
        url: str,
        database: str,
        user: str = "default",
        password: str = "",
        *,
        patience_seconds: float = math.inf,
        pulse: Pulse | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        self.url = url
        self.database = database
        self._user = user
        self._password = password
        self._patience_seconds = patience_seconds
        self._pulse = pulse or Pulse()
        self._tls, self._generation = (tls if url.startswith("https:") else None), 0
        self._retired: AsyncClient | None = None
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def query(self, sql: str, parameters: Mapping[str, Any], limits: Limits = QUERY_LIMITS) -> list[Row]:
        """The rows of a SELECT; strings are bytes. ``parameters`` fill ``{name:Type}``."""
        async with self._call(limits, reading=True) as client:
            result = await client.query(
                sql, parameters=dict(parameters) or None, settings=limits.settings(), query_formats={"String": "bytes"}
            )
            return list(result.result_rows)

    async def native(self, sql: str, parameters: Mapping[str, Any], limits: Limits, settings: Mapping[str, Any]) -> bytes:
        """The answer of a SELECT in the Native format, for ``native.read``."""
        pieces: list[bytes] = []
        await self.native_pieces(pieces.append, sql, parameters, limits, settings)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def native_pieces(
        self, take: Callable[[bytes], None], sql: str, parameters: Mapping[str, Any], limits: Limits, settings: Mapping[str, Any]
    ) -> None:
        """``native`` in pieces, each passed to ``take`` as it comes. When a statement fails late, the last pieces are not of the answer."""
        async with self._call(limits, reading=True) as client:
            end = b""
            try:
                # Streamed, as the server would hold a whole answer back until its end, only to give a late failure a status of its own. But
                # it says how much it has read in a header: where that is counted, the answer has to wait for it.
                chosen = {**limits.settings(), **settings, **({"wait_end_of_query": 1} if is_measured() else {})}
                asked = client.raw_stream(sql, parameters=dict(parameters) or None, settings=chosen, fmt="Native", use_database=False)
                async with await asked as pieces:
                    async for piece in pieces:
                        end = (end + piece[-_EXCEPTION_BYTES:])[-_EXCEPTION_BYTES:]
                        take(piece)
            except aiohttp.ClientPayloadError as error:
                raise late_failure(end) or error from error

    async def command(self, sql: str, parameters: Mapping[str, Any] | None = None, limits: Limits = DDL_LIMITS) -> None:
        """Run a statement without a result."""
        async with self._call(limits) as client:
            await client.command(sql, parameters=dict(parameters) if parameters else None, settings=limits.settings())

    async def insert(self, table: str, body: bytes, body_format: str, settings: Mapping[str, Any], limits: Limits = INSERT_LIMITS) -> None:
        """Send ``body`` unchanged, in ClickHouse's ``body_format``. It is sent once more when the connection was lost, which ``settings``
        MUST make harmless.
        """
        settings = {**limits.settings(), **settings}
        async with self._call(limits) as client:
            try:
                await self._insert(client, table, body, body_format, settings)
            except ClickHouseError as error:
                # The server may have closed a pooled connection, for instance by restarting.
                if not isinstance(error.__cause__, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionResetError):
                    raise
                await self._insert(client, table, body, body_format, settings)

    async def _insert(self, client: AsyncClient, table: str, body: bytes, body_format: str, settings: dict[str, Any]) -> None:
        # A file, not bytes: the client prepends the statement to bytes, which copies them here and once more on a hot node; with a file the
        # statement goes in the URL. But only for bytes does the client repeat a request when the connection is lost, so ``insert`` does it.
        await client.raw_insert(f"{self.database}.{table}", insert_block=io.BytesIO(body), fmt=body_format, settings=settings)

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        clients, self._client, self._retired = (self._client, self._retired), None, None
        for client in clients:
            if client is not None:
                await client.close()

    @contextlib.asynccontextmanager
    async def _call(self, limits: Limits, *, reading: bool = False) -> AsyncIterator[AsyncClient]:
        """A connected client for one statement, within its deadline. Errors of the block are translated."""
        seconds = min(limits.seconds + _GRACE_SECONDS, self._patience_seconds)
        hangs = asyncio.Event()
        try:
            async with asyncio.timeout(seconds) as deadline, self._watched(deadline, hangs) if reading else contextlib.nullcontext():
                yield await self._connect()
        except Exception as error:
            if deadline.expired():
                why = "hangs: it answers no ping" if hangs.is_set() else f"did not answer within {seconds:g} s"
                raise Unavailable(f"ClickHouse at {self.url} {why}") from error
            self._report_damage(error)
            raise translate(error, reading=reading) from error

    @contextlib.asynccontextmanager
    async def _watched(self, deadline: asyncio.Timeout, hangs: asyncio.Event) -> AsyncIterator[None]:
        """When the server hangs, set ``hangs`` and end ``deadline`` at once."""

        async def watch() -> None:
            await self._pulse.lost(self.url, self._tls.context if self._tls else None)
            with contextlib.suppress(RuntimeError):  # the deadline has just passed by itself
                deadline.reschedule(0)
                hangs.set()

        watching = asyncio.create_task(watch(), name="ping")
        try:
            yield
        finally:
            # Cancelled before the deadline is left: a deadline that is over must not be rescheduled.
            watching.cancel()

    def _report_damage(self, error: Exception) -> None:
        """Log and count a damaged part. ClickHouse's message, with its file and checksums, is for operators, so it is logged here and kept
        out of answers.
        """
        if getattr(error, "code", None) in _DAMAGED_CODES:
            server = urlsplit(self.url)
            _DAMAGED_READS.labels(f"{server.hostname}:{server.port}").inc()
            log.error("ClickHouse cannot read a damaged part", database=self.database, reason=str(error)[:_REASON_CHARS])

    async def _connect(self) -> AsyncClient:
        async with self._connecting:
            await self._retire()
            if self._client is None:
                self._client = await create_async_client(
                    dsn=self.url,
                    interface=urlsplit(self.url).scheme,  # the client does not take it from the DSN
                    username=self._user,
                    password=self._password,
                    compress=False,
                    connect_timeout=5,
                    send_receive_timeout=300,
                    # Callers retry: they know their deadline, and whether the answer is still wanted.
                    query_retries=0,
                    # A session runs one statement at a time, but many of ours run at once.
                    autogenerate_session_id=False,
                    **self._tls_options(),
                )
                count_reads(self._client)
            return self._client

    async def _retire(self) -> None:
        """Connect anew after a change of certificates. Calls under way finish on the previous client, which is closed at the
        next change.
        """
        if self._tls is None:
            return
        self._tls.refresh()
        if self._generation != self._tls.generation:
            self._generation = self._tls.generation
            oldest, self._retired, self._client = self._retired, self._client, None
            if oldest is not None:
                await oldest.close()

    def _tls_options(self) -> dict[str, Any]:
        """The client's options for TLS. A client certificate secures the connection; the user still authenticates with the password."""
        if self._tls is None:
            return {}
        chosen = self._tls.settings
        paths = {"ca_cert": chosen.ca_file, "client_cert": chosen.client_cert, "client_cert_key": chosen.client_key}
        return {"tls_mode": "strict", **{name: str(path) for name, path in paths.items() if path is not None}}


def late_failure(end: bytes) -> ClickHouseError | None:
    """The failure that the end of a body tells, after part of the answer was sent; None when the connection just broke."""
    found = _EXCEPTION.search(end)
    return DatabaseError(found[2].decode(errors="replace"), code=int(found[3])) if found else None


def translate(error: Exception, *, reading: bool = False) -> TaelError:
    """The error that tells a caller what to do about an error of the client or the server.

    Unavailable or Overloaded when the same call may succeed later, Rejected when it never will. An unknown error code becomes Unavailable,
    so that data is kept and retried rather than thrown away. A statement that takes more memory than its limit is TooLarge.
    """
    if isinstance(error, TaelError):
        return error
    code = getattr(error, "code", None)
    text = str(error).strip() or type(error).__name__
    if reading and isinstance(error, ClickHouseError) and _BODY_TOO_LONG in text:
        return _too_long()
    if isinstance(error, ClickHouseError) and code is not None:
        if _OWN_LIMIT in text:
            return TooLarge(_NARROWER, where="query") if reading else TooLarge(text)
        return (_stored_data_error(code, text) if reading else None) or _error_of_code(code, text)
    if isinstance(error, (ClickHouseError, aiohttp.ClientError, OSError)):
        return Unavailable(text)
    return Unavailable(f"unexpected failure of the ClickHouse client: {text}")


def _stored_data_error(code: int, text: str) -> TaelError | None:
    """The error for damaged or unreadable stored data; None when the error has another cause."""
    if code in _OBJECT_CODES and (found := _OBJECT.search(text)):
        return Unreadable(
            found[1] or found[2], alone=code != _S3_ERROR or _NOT_FOUND in text, silent=code == _S3_ERROR and _NO_RESPONSE in text
        )
    if code in _DAMAGED_CODES:
        return Unavailable("a part of this shard's data is damaged; the log of this process names its file")
    return None


def _too_long() -> TooLarge:
    return TooLarge("the query is too long", where="query", accepted="shorter expressions: about 200 kB of text in all")


def _error_of_code(code: int, text: str) -> TaelError:
    if code in _OVERLOADED and _TOO_SPREAD not in text:
        return Overloaded(text, retry_after_seconds=_OVERLOADED[code])
    if code in _DATA_CODES or _TOO_SPREAD in text:
        return Rejected(text)
    if any(words in text for words in _TOO_LONG):
        return _too_long()
    if code in _RESULT_TOO_LARGE:
        return TooLarge(f"the answer is too large: {text}", where="query", accepted="a narrower query")
    return Unavailable(text)
