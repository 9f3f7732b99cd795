"""Settings are read once, are typed, and are refused with a message that tells what to change."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from tael.errors import BadSettings
from tael.runtime.config import (
    Address,
    Bytes,
    CommaList,
    HttpUrls,
    Listen,
    NatsUrls,
    OptionalListen,
    Secret,
    Settings,
    Switch,
    load,
    takes,
    variables,
)
from tael.runtime.settings import NatsSettings, NodeSettings


class Sample(Settings):
    """One field of every type."""

    addr: Listen = Field(default="127.0.0.1:4317", alias="TAEL_ADDR", description="d")  # type: ignore[assignment]
    agent: OptionalListen = Field(default=None, alias="TAEL_AGENT", description="d")
    size: Bytes = Field(default="64MiB", alias="TAEL_SIZE", ge=1, description="d")  # type: ignore[assignment]
    open: Switch = Field(default=False, alias="TAEL_OPEN", description="d")
    origins: CommaList = Field(default=(), alias="TAEL_ORIGINS", description="d")
    shards: HttpUrls = Field(default=("http://a:1",), min_length=1, alias="TAEL_URLS", description="d")
    nats: NatsUrls = Field(default=("nats://a:1",), alias="TAEL_NATS", description="d")
    secret: Secret = Field(default="x", min_length=1, max_length=8, alias="TAEL_SECRET", description="d")
    count: int = Field(default=1, ge=1, le=16, alias="TAEL_COUNT", description="d")
    seconds: float = Field(default=1, gt=0, alias="TAEL_SECS", description="d")
    mode: Literal["", "all", "some"] = Field(default="all", alias="TAEL_MODE", description="d")
    name: str = Field(default="n", pattern="^[a-z]+$", alias="TAEL_NAME", description="d")
    path: Path = Field(default=Path("/x"), alias="TAEL_PATH", description="d")


class Needed(Settings):
    """A field without a default."""

    url: NatsUrls = Field(alias="TAEL_NEEDED", description="d")


class Other(Settings):
    """Settings that another process of the suite reads."""

    thing: str = Field(default="", alias="TAEL_THING", description="d")


def refusals(environ: dict[str, str], model: type[Settings] = Sample) -> list[str]:
    with pytest.raises(BadSettings) as refused:
        load(model, environ)
    return refused.value.problems


def test_defaults_pass_through_the_same_parsers() -> None:
    settings = load(Sample, {})
    assert settings.addr == Address("127.0.0.1", 4317)
    assert settings.size == 64 << 20


def test_an_empty_variable_counts_as_unset() -> None:
    assert load(Sample, {"TAEL_COUNT": "", "TAEL_ADDR": ""}).count == 1


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("TAEL_ADDR", ":80", Address("0.0.0.0", 80)),
        ("TAEL_ADDR", "[::1]:80", Address("::1", 80)),
        ("TAEL_ADDR", "ingest.local:0", Address("ingest.local", 0)),
        ("TAEL_AGENT", "off", None),
        ("TAEL_AGENT", "127.0.0.1:8126", Address("127.0.0.1", 8126)),
        ("TAEL_SIZE", "10", 10),
        ("TAEL_SIZE", "1.5 KiB", 1536),
        ("TAEL_SIZE", "2MB", 2_000_000),
        ("TAEL_OPEN", "YES", True),
        ("TAEL_OPEN", "0", False),
        ("TAEL_ORIGINS", " a , b,", ("a", "b")),
        ("TAEL_URLS", "http://a:1/,https://b", ("http://a:1", "https://b")),
        ("TAEL_NATS", "tls://u:p@h:4222", ("tls://u:p@h:4222",)),
        ("TAEL_NATS", "nats://a:1/, nats://b:2", ("nats://a:1", "nats://b:2")),
        ("TAEL_COUNT", "16", 16),
        ("TAEL_MODE", "some", "some"),
        ("TAEL_PATH", "/tmp/y", Path("/tmp/y")),
    ],
)
def test_a_value_is_read(variable: str, text: str, value: object) -> None:
    field = next(name for name, field in Sample.model_fields.items() if field.alias == variable)
    assert getattr(load(Sample, {variable: text}), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("TAEL_ADDR", "127.0.0.1", "host:port, for example 127.0.0.1:4317"),
        ("TAEL_ADDR", "h:99999", "host:port, for example 127.0.0.1:4317"),
        ("TAEL_AGENT", "on", "host:port, or off"),
        ("TAEL_SIZE", "64 potatoes", "a size: bytes, or a number with KiB, MiB, GiB, KB, MB or GB"),
        ("TAEL_SIZE", "-1", "a size: bytes, or a number with KiB, MiB, GiB, KB, MB or GB"),
        ("TAEL_OPEN", "maybe", "on or off"),
        ("TAEL_URLS", "nats://a", "http:// or https:// URLs separated by commas"),
        ("TAEL_URLS", ",", "http:// or https:// URLs separated by commas"),
        ("TAEL_NATS", "http://a", "nats:// or tls:// URLs separated by commas"),
        ("TAEL_COUNT", "17", "a whole number from 1 to 16"),
        ("TAEL_COUNT", "two", "a whole number from 1 to 16"),
        ("TAEL_SECS", "0", "a number above 0"),
        ("TAEL_MODE", "none", "one of (empty), all, some"),
        ("TAEL_NAME", "A b", "text that matches ^[a-z]+$"),
    ],
)
def test_a_value_is_refused_with_what_the_variable_takes(variable: str, text: str, words: str) -> None:
    assert refusals({variable: text}) == [f"{variable}={text!r} cannot be used: it takes {words}"]


def test_a_secret_is_never_printed() -> None:
    assert refusals({"TAEL_SECRET": "hunter2hunter2"}) == ["TAEL_SECRET=(secret) cannot be used: it takes any text"]


def test_a_missing_variable_is_named() -> None:
    assert refusals({}, Needed) == ["TAEL_NEEDED is not set: it takes nats:// or tls:// URLs separated by commas"]


def test_all_problems_are_reported_at_once() -> None:
    assert len(refusals({"TAEL_COUNT": "x", "TAEL_ADDR": "x", "TAEL_NOPE": "x"})) == 3


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    assert refusals({"TAEL_COUNTS": "1"}) == ["TAEL_COUNTS is not a setting: did you mean TAEL_COUNT?"]
    assert refusals({"TAEL_ZZZZZZZZZZ": "1"}) == ["TAEL_ZZZZZZZZZZ is not a setting: docs/configuration.md lists them all"]


def test_variables_of_other_processes_and_of_others_are_let_pass() -> None:
    """One environment file may serve the whole suite."""
    assert load(Sample, {"TAEL_THING": "x", "HOME": "/root"}, [Sample, Other]).count == 1


def test_settings_are_frozen() -> None:
    settings = load(Sample, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.count = 2  # type: ignore[misc]  # that it is read-only is the point


def test_every_type_describes_its_values() -> None:
    assert all(takes(field).words.strip() not in ("", "one of") for field in variables(Sample).values())


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:4317", "localhost:65535"])
def test_an_address_prints_as_it_is_read(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("url", ["natss://me:pa,ss@host:4222", "nats//me:pass@host", "me:pass@host:4222", "nats:/me:pa/ss@host"])
def test_a_mistyped_url_is_shown_without_its_credentials(url: str) -> None:
    with pytest.raises(BadSettings) as refusal:
        load(NatsSettings, {"TAEL_NATS_URL": url})
    assert "host" in str(refusal.value)
    assert "me:pa" not in str(refusal.value)


def test_the_internal_address_is_private_by_default() -> None:
    for host, told, refused in (("127.0.0.1", "off", False), ("0.0.0.0", "off", True), ("0.0.0.0", "on", False)):
        variables = {"TAEL_INTERNAL_ADDR": f"{host}:1", "TAEL_INTERNAL_OPEN": told}
        with pytest.raises(BadSettings, match="TAEL_INTERNAL_OPEN") if refused else contextlib.nullcontext():
            load(NodeSettings, variables)
