"""Routes declare their family and scope: who may call each, and errors in the shape of the API that is called."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from aiohttp import web

from services.query.api.family import Family, Route
from services.query.api.routing import Router
from tael.errors import Overloaded, Rejected
from tael.runtime.access import Access
from tael.runtime.config import Address
from tael.runtime.http import serve
from tests.support.doubles import MemorySpans
from tests.support.query import Response, serving

READER = "reader-token-0123456789"


@pytest.fixture
def tokens_file(tmp_path: Path) -> str:
    path = tmp_path / "tokens"
    path.write_text(f"{READER} shop query\n")
    return str(path)


def prometheus_kind(response: Response) -> str:
    body = response.json()
    assert body["status"] == "error"
    assert body["error"]
    return str(body["errorType"])


PROMETHEUS = ["query", "query_range", "series", "labels", "label/job/values", "metadata", "rules", "alerts", "parse_query", "format_query"]


@pytest.mark.parametrize("prefix", ["", "/prometheus"])
@pytest.mark.parametrize("path", [*PROMETHEUS, "status/buildinfo", "status/flags", "query_exemplars", "targets"])
async def test_prometheus_refuses_strangers_in_its_shape(tokens_file: str, prefix: str, path: str) -> None:
    async with serving(MemorySpans(), TAEL_TOKENS_FILE=tokens_file) as api:
        response = await api.get(f"{prefix}/api/v1/{path}")
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert prometheus_kind(response) == "bad_data"


@pytest.mark.parametrize(
    "path", ["/api/v1/rules", "/prometheus/api/v1/metadata", "/api/v1/status/buildinfo", "/prometheus/api/v1/label/a/values"]
)
async def test_a_wrong_method_is_refused_in_prometheus_shape(path: str) -> None:
    async with serving(MemorySpans()) as api, api.session.post(api.url + path) as answer:
        response = Response(answer.status, answer.headers, await answer.read())
        assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
        assert prometheus_kind(response) == "bad_data"


async def test_unknown_paths_are_refused_by_the_family_they_are_under() -> None:
    async with serving(MemorySpans()) as api:
        assert prometheus_kind(await api.get("/prometheus/api/v1/nope")) == "not_found"
        assert (await api.get("/tempo/nope")).body == b"path not found: /tempo/nope\n"
        assert (await api.get("/tempo")).body == b"path not found: /tempo\n"
        assert (await api.error("/api/v1/nope")) == (404, "path not found: /api/v1/nope")


async def test_every_route_wants_a_token_but_health(tokens_file: str) -> None:
    open_to_all = {"/healthz", "/readyz", *(f"{prefix}/-/{word}" for prefix in ("", "/prometheus") for word in ("healthy", "ready"))}
    open_to_all |= {"/", "/api/v1", "/ready", "/loki-api/ready"}
    async with serving(MemorySpans(), TAEL_TOKENS_FILE=tokens_file) as api:
        for path in api.paths:
            assert (await api.get(path)).status == (200 if path in open_to_all else 401), path


async def test_admin_routes_refuse_a_reader(tokens_file: str) -> None:
    async with serving(MemorySpans(), TAEL_TOKENS_FILE=tokens_file) as api:
        for path in ("/metrics", "/internal/cluster", "/internal/targets", "/api/v1/admin/deadletters", "/api/v1/admin/deadletters/1"):
            assert (await api.get(path, headers={"Authorization": f"Bearer {READER}"})).status == 403, path


async def test_a_family_answers_every_error_in_its_shape() -> None:
    """What a new API has to do: declare routes, prefixes and how it refuses."""

    async def fails(request: web.Request) -> web.Response:
        raise {"overloaded": Overloaded("later"), "rejected": Rejected("wrong"), "unexpected": KeyError("bug")}[request.match_info["how"]]

    def refuse(_: web.Request, error: Exception) -> web.Response:
        return web.Response(status=418, text=type(error).__name__)

    families = [Family([Route("GET", "/fails/{how}", fails)], prefixes=("", "/api"), roots=("/api/", "/fails/"), refuse=refuse)]
    router = Router(families, Access(None), lambda _: None)
    app = web.Application(middlewares=[router.middleware])
    router.register(app)
    async with serve(app, Address("127.0.0.1", 0), what="the test's", variable="-") as bound, serving(MemorySpans()) as other:
        for path, name in {
            "/fails/overloaded": "Overloaded",
            "/api/fails/rejected": "Rejected",
            "/api/fails/unexpected": "KeyError",
            "/api/else": "HTTPNotFound",
            "/fails/": "HTTPNotFound",
        }.items():
            async with other.session.get(f"http://{bound}{path}") as response:
                assert (response.status, await response.text()) == (418, name)
        async with other.session.post(f"http://{bound}/fails/x") as response:
            assert (response.status, await response.text()) == (418, "HTTPMethodNotAllowed")


URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@pytest.mark.parametrize("path", ["/prometheus/api/v1/query", "/loki/api/v1/query_range"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param(URLENCODED, b"query=\xff", id="bytes of no charset"),
        pytest.param(f"{URLENCODED}; charset=nope", b"query=up", id="an unknown charset"),
        pytest.param(MULTIPART, b"query=up", id="parts without a boundary"),
        pytest.param(f"{MULTIPART}; boundary=a", b"--b\r\n", id="another boundary"),
        pytest.param(f"{MULTIPART}; boundary=a", b"--a\r\n\r\nup\r\n--a--\r\n", id="a part without a name"),
        pytest.param(
            f"{MULTIPART}; boundary=a",
            b'--a\r\nContent-Disposition: form-data; name="query"\r\nContent-Transfer-Encoding: nope\r\n\r\nup\r\n--a--\r\n',
            id="a part of unknown encoding",
        ),
        pytest.param(f"{MULTIPART}; boundary=a", b"--a\r\n" + b"x" * 100_000 + b"\r\n\r\nup\r\n--a--\r\n", id="a part with a long head"),
    ],
)
async def test_a_form_that_cannot_be_read_is_a_bad_request(path: str, kind: str, body: bytes) -> None:
    async with serving(MemorySpans()) as api, api.session.post(api.url + path, data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == 400, await answer.text()
        assert "form" in await answer.text()


@pytest.mark.parametrize("path", ["/prometheus/api/v1/query", "/loki/api/v1/query_range"])
async def test_a_form_that_is_too_long_is_refused_with_the_limit(path: str) -> None:
    form = io.BytesIO(b"query=" + b"x" * (11 << 20))
    async with serving(MemorySpans()) as api, api.session.post(api.url + path, data=form, headers={"Content-Type": URLENCODED}) as answer:
        assert (answer.status, "at most 10,485,760 bytes" in await answer.text()) == (400, True)


TEMPLATE = "{{" + "(" * 900 + ".a" + ")" * 900 + "}}"


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/tempo/api/search", {"q": f"{{ .a = {' + '.join('1' * 1_500)} }}"}),
        ("/tempo/api/metrics/query_range", {"q": f"{{ {' || '.join('.a=1' for _ in range(900))} }} | rate()"}),
        ("/jaeger/api/traces", {"service": "a", "tags": "{" + ",".join(f'"{at}":""' for at in range(900)) + "}"}),
        ("/loki/api/v1/query_range", {"query": f'{{a="b"}} | line_format "{TEMPLATE}"'}),
        ("/prometheus/api/v1/query", {"query": "+".join("1" * 4_000)}),
    ],
)
async def test_a_query_that_is_too_deep_is_a_bad_request(path: str, parameters: dict[str, str]) -> None:
    async with serving(MemorySpans()) as api:
        response = await api.get(path, *parameters.items())
    assert (response.status, b"deep" in response.body) == (400, True), response.body
