"""Tenants' names, token files, permissions, and insecure settings that are refused."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from services.ingest.settings import IngestSettings
from services.query.settings import QuerySettings
from services.serve.settings import ServeSettings
from tael.auth import Grant, Tokens, authorize, parse_tokens
from tael.errors import BadSettings, Forbidden, Rejected, Unauthenticated
from tael.model.tenant import MAX_TENANT_BYTES, parse_tenant
from tael.runtime import watched
from tael.runtime.access import Access
from tael.runtime.config import Settings, load
from tael.runtime.origins import foreign, is_loopback

SHOP, ROOT = "shop-token-0123456789", "root-token-0123456789"
LINES = f"# all of them\n{SHOP} shop ingest,query\n\n{ROOT} * admin,ingest,query\n"


@pytest.mark.parametrize("name", ["a", "default", "Team-1_x.y", "!*'()", "x" * MAX_TENANT_BYTES])
def test_names_that_grafanas_stack_takes(name: str) -> None:
    assert parse_tenant(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "*", "a b", "a/b", "ä", "a\n", "x" * (MAX_TENANT_BYTES + 1), "a|b"])
def test_names_that_it_does_not(name: str) -> None:
    with pytest.raises(Rejected, match="X-Scope-OrgID"):
        parse_tenant(name)


def test_several_tenants_at_once_are_refused_by_saying_so() -> None:
    with pytest.raises(Rejected, match=r"more than one tenant.*query each separately"):
        parse_tenant("a|b")


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        json.dumps(
            [
                {"token": SHOP, "tenant": "shop", "scopes": ["query", "ingest"]},
                {"token": ROOT, "tenant": "*", "scopes": ["admin", "ingest", "query"]},
            ]
        ),
        json.dumps({"tokens": [{"token": SHOP, "tenant": "shop", "scopes": ["ingest", "query"]}]}),
        f"sha256:{hashlib.sha256(SHOP.encode()).hexdigest()} shop ingest,query",
    ],
)
def test_files_of_tokens(text: str) -> None:
    tokens = parse_tokens(text)
    assert tokens[hashlib.sha256(SHOP.encode()).digest()] == Grant("shop", frozenset({"ingest", "query"}))
    assert authorize(tokens, "query", f"Bearer {SHOP}", None).tenant == "shop"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "contains no token"),
        ("[]", "contains no token"),
        (f"{SHOP} shop", "line 1: has 2 words"),
        (f"\n{SHOP} shop fly", "line 2, scopes: .*'fly'.* are not valid scopes.*ingest, query, admin"),
        (f"{SHOP} a/b query", "line 1, tenant: 'a/b' is not a valid tenant name"),
        ("short shop query", "line 1: the token is too short"),
        (f"{SHOP} a query\n{SHOP} b query", "line 2: duplicate token"),
        ("[{", "is not valid JSON"),
        ('{"a": 1}', "not a list of tokens"),
        ('[{"token": "x"}]', "entry 1: has unexpected fields"),
        (json.dumps([{"token": SHOP, "tenant": "a", "scopes": []}]), "entry 1, scopes"),
        (json.dumps([{"token": 1, "tenant": "a", "scopes": ["query"]}]), "entry 1: the token is too short"),
    ],
)
def test_a_file_with_a_mistake_is_refused_by_its_place(text: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        parse_tokens(text)


def test_without_tokens_the_header_is_believed() -> None:
    assert authorize(None, "admin", None, None).tenant == "default"
    assert authorize(None, "ingest", "Bearer whatever", "acme").tenant == "acme"
    with pytest.raises(Rejected):
        authorize(None, "query", None, "a/b")


@pytest.fixture
def tokens() -> Tokens:
    return parse_tokens(LINES)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer nobody", f"Digest {SHOP}", "Basic ???", SHOP, "Bearer \udcff", "Basic \udcff"]
)
def test_an_unknown_token_is_unauthenticated(tokens: Tokens, header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        authorize(tokens, "query", header, "shop")


def test_a_bound_token_is_its_tenants_and_no_others(tokens: Tokens) -> None:
    assert authorize(tokens, "ingest", f"bearer {SHOP}", None).tenant == "shop"
    assert authorize(tokens, "ingest", f"Bearer {SHOP}", "shop").tenant == "shop"
    with pytest.raises(Forbidden, match="belongs to another tenant"):
        authorize(tokens, "ingest", f"Bearer {SHOP}", "bank")


def test_a_scope_that_the_token_lacks_is_named(tokens: Tokens) -> None:
    with pytest.raises(Forbidden, match=r"may not admin \(it may ingest, query\)"):
        authorize(tokens, "admin", f"Bearer {SHOP}", None)


def test_a_token_of_any_tenant_obeys_the_header(tokens: Tokens) -> None:
    assert authorize(tokens, "admin", f"Bearer {ROOT}", "bank").tenant == "bank"
    assert authorize(tokens, "query", f"Bearer {ROOT}", None).tenant == "default"


def test_basic_authorization_has_the_token_as_password(tokens: Tokens) -> None:
    header = "Basic " + base64.b64encode(f"anyone:{SHOP}".encode()).decode()
    assert authorize(tokens, "query", header, None).tenant == "shop"


def test_the_file_is_read_again_when_it_changes_and_kept_when_it_turns_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "_LOOK_EVERY_SECONDS", 0.0)
    file = tmp_path / "tokens"
    file.write_text(LINES)
    door = Access(file)
    assert door.tenant("query", f"Bearer {SHOP}", None) == "shop"
    file.write_text("a-newer-token-0123456 bank query")
    assert door.tenant("query", "Bearer a-newer-token-0123456", None) == "bank"
    with pytest.raises(Unauthenticated):
        door.tenant("query", f"Bearer {SHOP}", None)
    file.write_text("nonsense")
    assert door.tenant("query", "Bearer a-newer-token-0123456", None) == "bank"
    file.unlink()
    assert door.tenant("query", "Bearer a-newer-token-0123456", None) == "bank"


def test_a_file_that_is_bad_at_the_start_refuses_the_process(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"TAEL_TOKENS_FILE=.*cannot be used: No such file"):
        Access(tmp_path / "missing")
    (tmp_path / "tokens").write_text("x y z")
    with pytest.raises(BadSettings, match="cannot be used: line 1: the token is too short"):
        Access(tmp_path / "tokens")


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("192.0.2.1", False), ("host.example", False)])  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        (IngestSettings, "TAEL_OTLP_GRPC_ADDR"),
        (IngestSettings, "TAEL_OTLP_HTTP_ADDR"),
        (IngestSettings, "TAEL_DD_AGENT_ADDR"),
        (QuerySettings, "TAEL_REST_API_ADDR"),
        (ServeSettings, "TAEL_REST_API_ADDR"),
    ],
)
def test_a_listener_beyond_loopback_wants_tokens_or_a_word(model: type[Settings], variable: str) -> None:
    with pytest.raises(BadSettings, match=f"{variable}=0.0.0.0:5000 would let anybody in: set TAEL_TOKENS_FILE.*TAEL_ALLOW_OPEN=true"):
        load(model, {variable: ":5000"})
    load(model, {variable: ":5000", "TAEL_ALLOW_OPEN": "true"})
    load(model, {variable: ":5000", "TAEL_TOKENS_FILE": "/tokens"})


def test_a_writer_listens_to_nobody() -> None:
    load(IngestSettings, {"TAEL_OTLP_GRPC_ADDR": ":4317", "TAEL_INGEST_ROLE": "write"})


@pytest.mark.parametrize("origin", ["http://[", "http://[zz]/", "http://a]b", "null", "http://shop.example"])
def test_a_foreign_or_malformed_origin_may_not_send(origin: str) -> None:
    assert "may not send here" in foreign("POST", {"Host": "localhost", "Origin": origin}, ())
