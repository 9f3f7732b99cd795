"""Settings from the environment: read once, immutable, and refused with a line that a person can act on.

A service declares one pydantic model whose fields have the variable's name as alias, a description and one of the types below. Each type
describes what it accepts, for error texts and docs/configuration.md alike. The models themselves live beside the code that they configure;
this module only reads and explains them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from tael.errors import BadSettings

PREFIX = "TAEL_"
SERVER, TOKEN, TENANT = "TAEL_SERVER", "TAEL_TOKEN", "TAEL_TENANT"
"""Variables of the ``tael`` command; the other processes ignore them."""
CA_FILE = "TAEL_CA_FILE"
"""Read by the ``tael`` command and by the other processes."""


class Settings(BaseModel):
    """Base of every settings model: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, populate_by_name=False)


@dataclass(frozen=True)
class Takes:
    """Field metadata: what the variable accepts, in words. ``secret`` values are never printed."""

    words: str
    secret: bool = False


_BYTES_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].lower() not in _BYTES_UNITS:
        raise ValueError("not a size")
    return int(float(match[1]) * _BYTES_UNITS[match[2].lower()])


def _switch(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise ValueError("not a switch")


def _comma_list(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


@dataclass(frozen=True)
class Address:
    """The address that a listener binds: ``host:port``; with port 0 the system chooses."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``, ``[v6]:port`` or ``:port`` (all addresses). Raises ValueError."""
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]*):(\d{1,5})", text.strip())
        if match is None or int(match[2]) > 65535:
            raise ValueError("not host:port")
        return cls(match[1].strip("[]") or "0.0.0.0", int(match[2]))  # noqa: S104  # ":port" asks for every address

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: object) -> object:
    return Address.parse(value) if isinstance(value, str) else value


def _optional_address(value: object) -> object:
    return None if isinstance(value, str) and value.lower() == "off" else _address(value)


def _url(value: object, schemes: tuple[str, ...]) -> object:
    if isinstance(value, str):
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError("not such a URL")
        return value.rstrip("/")
    return value


def _http_urls(value: object) -> object:
    return _urls(value, ("http", "https"))


def _nats_urls(value: object) -> object:
    return _urls(value, ("nats", "tls"))


def _urls(value: object, schemes: tuple[str, ...]) -> object:
    urls = _comma_list(value)
    return tuple(_url(url, schemes) for url in urls) if isinstance(urls, tuple) else urls


Bytes = Annotated[int, BeforeValidator(_bytes), Takes("a size: bytes, or a number with KiB, MiB, GiB, KB, MB or GB")]
Switch = Annotated[bool, BeforeValidator(_switch), Takes("on or off")]
CommaList = Annotated[tuple[str, ...], BeforeValidator(_comma_list), Takes("values separated by commas")]
Listen = Annotated[Address, BeforeValidator(_address), Takes("host:port, for example 127.0.0.1:4317")]
OptionalListen = Annotated[Address | None, BeforeValidator(_optional_address), Takes("host:port, or off")]
HttpUrl = Annotated[str, BeforeValidator(lambda v: _url(v, ("http", "https"))), Takes("an http:// or https:// URL")]
OptionalHttpUrl = Annotated[
    str | None, BeforeValidator(lambda v: v if v is None else _url(v, ("http", "https"))), Takes("an http:// or https:// URL")
]
HttpUrls = Annotated[tuple[str, ...], BeforeValidator(_http_urls), Takes("http:// or https:// URLs separated by commas")]
OptionalPath = Annotated[Path | None, Takes("a path")]
NatsUrls = Annotated[tuple[str, ...], BeforeValidator(_nats_urls), Takes("nats:// or tls:// URLs separated by commas")]
Secret = Annotated[str, Takes("any text", secret=True)]

S = TypeVar("S", bound=Settings)


def variables(model: type[Settings]) -> dict[str, FieldInfo]:
    """The environment variables that a model reads, by name, in order of declaration."""
    return {field.alias: field for field in model.model_fields.values() if field.alias}


def takes(field: FieldInfo) -> Takes:
    """What a field accepts: the words of its type, else words for the plain Python type, with its bounds or pattern."""
    for item in field.metadata:
        if isinstance(item, Takes):
            return item
    plain: dict[object, str] = {int: "a whole number", float: "a number", str: "any text", Path: "a path"}
    words = plain.get(field.annotation)
    if words is None:
        words = "one of " + ", ".join(str(a) or "(empty)" for a in getattr(field.annotation, "__args__", ()))
    limits = {
        name: getattr(m, name) for m in field.metadata for name in ("ge", "gt", "le", "lt", "pattern") if getattr(m, name, None) is not None
    }
    if "pattern" in limits:
        return Takes(f"text that matches {limits['pattern']}")
    phrases = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    if {"ge", "le"} <= limits.keys():
        return Takes(f"{words} from {limits['ge']} to {limits['le']}")
    return Takes(" ".join([words, " and ".join(f"{phrases[name]} {limits[name]}" for name in phrases if name in limits)]).strip())


def load(model: type[S], environ: Mapping[str, str], known: Iterable[type[Settings]] = ()) -> S:
    """Build ``model`` from ``environ``.

    Empty variables count as unset. Raises BadSettings for malformed values, and for ``TAEL_`` variables that neither ``model`` nor any of
    ``known`` reads, with one line for each: the variable, its value, and what it accepts.
    """
    fields = variables(model)
    names = set(fields).union({SERVER, TOKEN, TENANT}, *(variables(other) for other in known))
    problems = [_unknown(name, names) for name in sorted(environ) if name.startswith(PREFIX) and name not in names]
    values: dict[str, Any] = {name: environ[name] for name in fields if environ.get(name, "") != ""}
    settings: S | None = None
    try:
        settings = model.model_validate(values)
    except ValidationError as error:
        seen: set[str] = set()
        for item in error.errors():
            name = str(item["loc"][0]) if item["loc"] else ""
            if name not in seen:
                seen.add(name)
                problems.append(_malformed(name, values.get(name), fields.get(name), item["msg"]))
    if problems or settings is None:
        raise BadSettings(problems)
    return settings


def _malformed(name: str, value: object, field: FieldInfo | None, message: str) -> str:
    if field is None:
        return message.removeprefix("Value error, ")
    accepted = takes(field)
    if value is None:
        return f"{name} is not set: it takes {accepted.words}"
    shown = "(secret)" if accepted.secret else repr(_without_credentials(str(value)))
    return f"{name}={shown} cannot be used: it takes {accepted.words}"


def _without_credentials(text: str) -> str:
    """A possibly malformed URL without user and password: everything before the last @ is hidden, except a scheme."""
    return re.sub(r"^(.*?//)?.*@", r"\1(hidden)@", text)


def _unknown(name: str, names: set[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else "docs/configuration.md lists them all"
    return f"{name} is not a setting: {hint}"
