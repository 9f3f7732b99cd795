"""A client of the native API: one request at a time, answered whole or as a stream of events, with errors that a person can act on."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from click import ClickException

from tael import __version__
from tael.model.tenant import TENANT_HEADER
from tael.runtime.config import CA_FILE

EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE = 1, 2, 3
_TIMEOUT_SECONDS = 90
_MAX_ERROR_TEXT = 500
_SENDABLE: Final = re.compile(r"[\x20-\x7e\xa0-\xff]*")
Parameters: TypeAlias = "Iterable[tuple[str, object]]"


class Failed(ClickException):
    """Ends the command with a text on standard error and an exit code."""

    def __init__(self, text: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


class Client:
    """A client of the server at a base URL."""

    def __init__(
        self, server: str, *, token: str = "", tenant: str = "", ca_file: str = "", timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        self.server = server.rstrip("/")
        self._timeout_seconds = timeout_seconds
        for what, text in (("token", token), ("tenant's name", tenant)):
            if not _SENDABLE.fullmatch(text):
                raise Failed(f"the {what} has characters that an HTTP header cannot have", EXIT_USAGE)
        self._who = {**({"Authorization": f"Bearer {token}"} if token else {}), **({TENANT_HEADER: tenant} if tenant else {})}
        host = urlsplit(self.server).hostname or ""
        # A proxy from the environment is meant for other machines, not for this one.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})] if _is_loopback(host) else []
        if ca_file:
            handlers.append(urllib.request.HTTPSHandler(context=_trusting(ca_file)))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, *path: str, parameters: Parameters = ()) -> dict[str, Any]:
        """The JSON object at a path, its segments escaped; parameters that are None or empty are left out. Raises Failed."""
        with self._answer(path, parameters, "application/json") as response:
            return self._object(response.read())

    def readiness(self) -> tuple[dict[str, Any], float]:
        """The answer of ``/readyz``, ready or not, and how many seconds the server's clock is ahead of ours. Raises Failed."""
        request = urllib.request.Request(f"{self.server}/readyz", headers={"User-Agent": f"tael/{__version__}"})  # noqa: S310  # the user's own URL
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                return self._object(response.read()), _ahead(response.headers)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise self._refused(error) from None
            return self._object(error.read()), _ahead(error.headers)
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from None
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None

    def send(self, method: str, *path: str, parameters: Parameters = ()) -> dict[str, Any]:
        """Send a request without a body; returns the JSON object of the answer. Raises Failed."""
        with self._answer(path, parameters, "application/json", method) as response:
            return self._object(response.read())

    def stream(self, *path: str, parameters: Parameters = ()) -> Iterator[tuple[str, Any]]:
        """The server-sent events at a path, as they arrive: each one's type and JSON. The first one is empty and of type ``open``.

        Ends when the server ends it. Raises Failed.
        """
        with self._answer(path, parameters, "text/event-stream") as response:
            yield "open", {}
            name = "message"
            for raw in response:
                field, _, value = raw.decode(errors="replace").rstrip("\r\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)
                elif not field:
                    name = "message"

    @contextlib.contextmanager
    def _answer(self, path: Sequence[str], parameters: Parameters, accept: str, method: str = "GET") -> Iterator[HTTPResponse]:
        try:
            query = urlencode([(name, str(value)) for name, value in parameters if value is not None and value != ""])
            url = "/".join([self.server, *(quote(segment, safe="") for segment in path)]) + (f"?{query}" if query else "")
        except UnicodeEncodeError as error:
            raise Failed(f"{error.object!r} is not text in UTF-8", EXIT_USAGE) from None
        headers = {"Accept": accept, "User-Agent": f"tael/{__version__}", **self._who}
        request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310  # the URL is the user's own
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                yield response
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except urllib.error.URLError as error:
            raise self._unreachable(error.reason) from None
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None

    def _object(self, body: bytes) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Failed(f"{self.server} answers, but it is not a tael server", EXIT_UNREACHABLE)
        return value

    def _refused(self, error: urllib.error.HTTPError) -> Failed:
        body = error.read()
        try:
            text = str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError):
            text = f"{self.server} answered {error.code} {error.reason}: {body[:_MAX_ERROR_TEXT].decode(errors='replace').strip()}"
        return Failed(text, EXIT_USAGE if error.code == 400 else EXIT_FAILED)

    def _unreachable(self, reason: object) -> Failed:
        why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return Failed(
            f"no tael server at {self.server}: {why}\n"
            "Start one on this machine with `tael serve`, or name another with --server URL, TAEL_SERVER or --port-rest N.",
            EXIT_UNREACHABLE,
        )


def _ahead(headers: Message) -> float:
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp() - time.time()
    except ValueError:
        return 0.0


def _trusting(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise Failed(f"{CA_FILE}: {ca_file!r} has no readable certificates: {error.strerror or error}", EXIT_USAGE) from None
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
