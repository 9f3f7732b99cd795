"""How the hot node reads a request's fields and headers."""

from __future__ import annotations

import base64

import pytest

from services.hotnode.call import Credentials, check_credentials, read_call, read_credentials
from services.hotnode.errors import StatementFailed, from_engine


def test_settings_parameters_and_the_interfaces_own_fields_are_distinguished() -> None:
    fields = [
        ("query", "SELECT 1"),
        ("max_threads", "2"),
        ("param_x", "a'b"),
        ("database", "d`b"),
        ("wait_end_of_query", "1"),
        ("query_id", "q"),
    ]
    call = read_call("POST", fields, {})
    assert (call.query, call.settings, call.params, call.wait_for_end) == (b"SELECT 1", {"max_threads": "2"}, {"x": "a'b"}, True)
    assert call.prelude() == "USE `d\\`b`; SET max_threads = '2', log_comment = 'q', param_x = 'a\\'b'"


def test_headers_win_over_fields() -> None:
    call = read_call("POST", [("database", "a"), ("default_format", "CSV")], {"X-ClickHouse-Database": "b", "X-ClickHouse-Format": "TSV"})
    assert (call.database, call.default_format) == ("b", "TSV")


@pytest.mark.parametrize(
    "fields",
    [
        [("max threads", "1")],
        [("x=1, y", "1")],
        [("session_id", "s"), ("session_timeout", "-1")],
        [("session_id", "s"), ("session_timeout", "²")],
        [("compress", "no")],
    ],
)
def test_refuses_what_cannot_be_a_setting(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(StatementFailed):
        read_call("POST", fields, {})


def test_get_and_readonly_only_read() -> None:
    assert read_call("GET", [], {}).only_reads
    assert read_call("POST", [("readonly", "1")], {}).only_reads
    assert not read_call("POST", [("readonly", "0")], {}).only_reads


def test_credentials_come_one_way_only() -> None:
    basic = {"Authorization": "Basic " + base64.b64encode(b"ann:p:w").decode()}
    assert read_credentials({}, basic) == Credentials("ann", "p:w")
    assert read_credentials({"user": "bob"}, {}) == Credentials("bob", "")
    assert read_credentials({}, {"X-ClickHouse-Key": "k"}) == Credentials("default", "k")
    assert read_credentials({}, {}) == Credentials("default", "")
    for fields, headers in (
        ({"user": "bob"}, basic),
        ({"user": "bob"}, {"X-ClickHouse-User": "ann"}),
        ({}, {**basic, "X-ClickHouse-User": "x"}),
    ):
        with pytest.raises(StatementFailed):
            read_credentials(fields, headers)


@pytest.mark.parametrize("authorization", ["Bearer x", "Basic !!!", "Basic", "Basic \udcff"])
def test_other_schemes_are_refused(authorization: str) -> None:
    with pytest.raises(StatementFailed) as refused:
        check_credentials(read_credentials({}, {"Authorization": authorization}), Credentials("default", "secret"))
    assert (refused.value.code, refused.value.status) == (516, 403)


def test_a_user_that_is_not_utf8_is_unknown() -> None:
    with pytest.raises(StatementFailed) as refused:
        check_credentials(Credentials("\udcff", "secret"), Credentials("default", "secret"))
    assert refused.value.code == 516


def test_the_engines_code_is_kept() -> None:
    error = from_engine(RuntimeError("Code: 60. DB::Exception: no (UNKNOWN_TABLE)"))
    assert (error.code, error.status) == (60, 404)
    assert from_engine(RuntimeError("odd")).code == 1002
