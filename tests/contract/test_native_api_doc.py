"""docs/native-api.md against a running API: each example answers as it says, and each endpoint is described."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.doubles import MemorySpans
from tests.support.query import serving

DOC = (Path(__file__).parents[2] / "docs" / "native-api.md").read_text()
EXAMPLES = re.findall(r"curl -s 'http://127\.0\.0\.1:7701([^']+)'\n# (\d+)(?: (\{.*\}))?", DOC)


@pytest.mark.parametrize(("path", "status", "shape"), EXAMPLES, ids=[path for path, _, _ in EXAMPLES])
async def test_examples_answer_as_they_say(path: str, status: str, shape: str) -> None:
    """The status, and the members of the answer in their order."""
    async with serving(MemorySpans()) as api:
        response = await api.get(urlsplit(path).path + (f"?{urlsplit(path).query}" if "?" in path else ""))
    assert response.status == int(status), response.body
    if shape:
        assert sorted(response.json()) == sorted(re.findall(r'"(\w+)":', shape))


async def test_every_endpoint_is_described() -> None:
    """What ``GET /api/v1`` lists is on the page, and has a description of its own."""
    async with serving(MemorySpans()) as api:
        listed = (await api.json("/api/v1"))["endpoints"]
    assert len(EXAMPLES) >= 8
    for endpoint in listed:
        named = endpoint["path"].replace("/{id}/replay", "").replace("/{id}", "")
        assert named in DOC, endpoint
        assert endpoint["description"], endpoint


async def test_a_browser_finds_its_way() -> None:
    """The page names the data sources by the address that the browser used, the port that takes OTLP, and links to what is there."""
    async with serving(MemorySpans(), TAEL_OTLP_HTTP_ADDR="127.0.0.1:14318", TAEL_ALLOWED_HOSTS="tael.example") as api:
        response = await api.get("/")
        assert (response.status, response.headers["Content-Type"].split(";")[0]) == (200, "text/html")
        page = response.body.decode()
        assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://HOST:14318\n" in page
        for source in ("/prometheus", "/loki-api", "/tempo", "/jaeger"):
            assert f"<code>{api.url}{source}</code>" in page
        port = api.url.rpartition(":")[2]
        assert f"<pre>tael --port-rest {port} services\ntael --port-rest {port} query traces" in page
        for host, flags in (("127.0.0.1:7701", ""), ("tael.example:7701", " --server http://tael.example:7701")):
            assert f"<pre>tael{flags} services\n" in (await api.get("/", headers={"Host": host})).body.decode()
        for link in re.findall(r'href="([^"]+)"', page):
            assert (await api.get(link)).status in (200, 503), link
