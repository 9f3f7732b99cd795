"""Parses an HTTP request of ClickHouse's interface: the statement, the user, the settings and the form of the answer."""

from __future__ import annotations

import base64
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.hotnode.engine import quoted
from services.hotnode.errors import AUTHENTICATION_FAILED, BAD_ARGUMENTS, INVALID_SESSION_TIMEOUT, UNKNOWN_SETTING, StatementFailed, failed

_LONGEST_SESSION_SECONDS: Final = 3600
_NOT_SETTINGS: Final = frozenset(
    {"query", "database", "default_format", "user", "password", "quota_key", "role", "query_id", "stacktrace", "log_comment", "readonly"}
    | {"session_id", "session_timeout", "session_check", "close_session", "client_protocol_version", "buffer_size", "wait_end_of_query"}
    | {"compress", "decompress", "enable_http_compression", "send_progress_in_http_headers", "http_headers_progress_interval_ms"}
)
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_SETTING: Final = re.compile(r"[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password, as given by a client."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class SessionWish:
    """The session that a request asks for. With ``must_exist`` no new one is opened."""

    name: str
    timeout_seconds: float
    must_exist: bool
    close_after: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed request. ``settings`` go to the engine unchanged; ``params`` fill ``{name:Type}`` in the engine's escaped form."""

    query: bytes
    query_id: str
    database: str = ""
    default_format: str = "TabSeparated"
    settings: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    session: SessionWish | None = None
    only_reads: bool = False
    why_only_reads: str = ""
    compress_out: bool = False
    zlib_level: int = 3
    buffer_bytes: int = 1 << 20
    wait_for_end: bool = False

    def prelude(self, *, with_id: bool = True) -> str:
        """Statements that apply the request's database, settings and id to its connection; may be empty without the id."""
        parts = [f"USE {_identifier(self.database)};"] if self.database else []
        # The engine generates its own query ids: KILL QUERY finds the client's in this setting (engine.py, statement.py).
        changes = {**self.settings, "log_comment": self.query_id} if with_id else dict(self.settings)
        changes.update({f"param_{name}": value for name, value in self.params.items()})
        if changes:
            parts.append("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in changes.items()))
        return " ".join(parts)


def read_call(method: str, fields: Iterable[tuple[str, str]], headers: Mapping[str, str]) -> Call:
    """Parse a request's URL (and form) fields and headers. Raises StatementFailed for values that a ClickHouse server refuses."""
    given = dict(fields)
    if blocks := [name for name in ("compress", "decompress") if _switch(given, name)]:
        raise failed(
            BAD_ARGUMENTS, f"{blocks[0]}=1 is not supported: use Content-Encoding, or enable_http_compression=1 with Accept-Encoding"
        )
    readonly = _integer(given, "readonly", 0)
    by_get = method in ("GET", "HEAD")
    return Call(
        # The statement's original bytes, even if they are not UTF-8: the engine decides what they mean.
        query=given.get("query", "").encode("utf-8", "surrogateescape"),
        query_id=given.get("query_id") or str(uuid.uuid4()),
        database=headers.get("X-ClickHouse-Database") or given.get("database", ""),
        default_format=headers.get("X-ClickHouse-Format") or given.get("default_format") or "TabSeparated",
        settings={name: value for name, value in given.items() if _is_setting(name)},
        params={name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")},
        session=_session(given),
        only_reads=by_get or readonly > 0,
        why_only_reads=" For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."
        if by_get
        else "",
        compress_out=_switch(given, "enable_http_compression"),
        zlib_level=min(9, max(1, _integer(given, "http_zlib_compression_level", 3))),
        buffer_bytes=min(64 << 20, max(64 << 10, _integer(given, "buffer_size", 1 << 20))),
        wait_for_end=_switch(given, "wait_end_of_query") or _switch(given, "http_wait_end_of_query"),
    )


def _is_setting(name: str) -> bool:
    if not name or name in _NOT_SETTINGS or name.startswith("param_"):
        return False
    if not _SETTING.fullmatch(name):
        raise failed(UNKNOWN_SETTING, f"Unknown setting '{name}'")
    return True


def _session(given: Mapping[str, str]) -> SessionWish | None:
    name = given.get("session_id", "")
    if not name:
        return None
    text = given.get("session_timeout", "60")
    if not _SECONDS.fullmatch(text):
        raise failed(INVALID_SESSION_TIMEOUT, f"Invalid session timeout: '{text}'")
    if int(text) > _LONGEST_SESSION_SECONDS:
        raise failed(INVALID_SESSION_TIMEOUT, f"Session timeout '{text}' is larger than max_session_timeout: {_LONGEST_SESSION_SECONDS}")
    return SessionWish(name, float(text), must_exist=given.get("session_check") == "1", close_after=_switch(given, "close_session"))


def _switch(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "0").lower()
    if value not in ("0", "1", "true", "false"):
        raise failed(BAD_ARGUMENTS, f"Cannot parse '{value}' as a switch for {name}")
    return value in ("1", "true")


def _integer(given: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(given.get(name) or default)
    except ValueError as error:
        raise failed(BAD_ARGUMENTS, f"Cannot parse '{given[name]}' as a number for {name}") from error


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def read_credentials(fields: Mapping[str, str], headers: Mapping[str, str]) -> Credentials:
    """User and password from ClickHouse's headers, basic authorization or the URL. Raises StatementFailed for more than one of these."""
    by_headers = any(headers.get(name) for name in ("X-ClickHouse-User", "X-ClickHouse-Key"))
    by_url = any(name in fields for name in ("user", "password"))
    authorization = headers.get("Authorization", "")
    if (by_headers and (by_url or authorization)) or (authorization and by_url):
        raise failed(AUTHENTICATION_FAILED, "Invalid authentication: it is not allowed to use different authentication methods at once")
    if by_headers:
        return Credentials(headers.get("X-ClickHouse-User") or "default", headers.get("X-ClickHouse-Key", ""))
    if authorization:
        return _basic(authorization)
    return Credentials(fields.get("user", "default"), fields.get("password", ""))


def _basic(authorization: str) -> Credentials:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise failed(AUTHENTICATION_FAILED, f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported")
    try:
        user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except ValueError as error:
        raise failed(AUTHENTICATION_FAILED, "Invalid authentication: the Basic credentials are not base64") from error
    return Credentials(user, password)


def check_credentials(given: Credentials, known: Credentials) -> None:
    """Raise StatementFailed 516 unless these are the known user's."""
    # Both are always compared, each in constant time, so that the response time does not reveal which one is wrong.
    same_user = hmac.compare_digest(_raw(given.user), _raw(known.user))
    same_password = hmac.compare_digest(_raw(given.password), _raw(known.password))
    if not (same_user and same_password):
        raise denied(given.user)


def _raw(text: str) -> bytes:
    """A header's bytes; those that are not UTF-8 arrive as surrogates."""
    return text.encode("utf-8", "surrogateescape")


def denied(user: str) -> StatementFailed:
    """The error for a wrong password or user, which does not tell which of the two it is."""
    reason = "Authentication failed: password is incorrect, or there is no user with such name."
    return failed(AUTHENTICATION_FAILED, f"{user}: {reason}")
