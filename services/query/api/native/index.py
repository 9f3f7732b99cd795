"""The list of the native API's endpoints, and a page for people who open the server's address in a browser."""

from __future__ import annotations

import html
from collections.abc import Sequence

from aiohttp import web

from services.query.api.family import OPEN, Route
from tael import __version__
from tael.runtime.http import json_response
from tael.runtime.reach import cli_flags

_SOURCES = (
    ("Prometheus", "/prometheus", "PromQL over metrics and over what spans are counted into"),
    ("Loki", "/loki-api", "LogQL over log records"),
    ("Tempo", "/tempo", "TraceQL over traces"),
    ("Jaeger", "/jaeger", "traces by service, operation and tags"),
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1c2430;background:#fff}"
    "h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid #e3e7ee;vertical-align:top}"
    "code,pre{font:14px/1.45 ui-monospace,monospace;background:#f3f5f9;border-radius:4px}code{padding:.1rem .3rem}pre{padding:.8rem;overflow:auto}"
    "a{color:#0b62c4}@media(prefers-color-scheme:dark){body{color:#dde3ec;background:#12161d}td,th{border-color:#2a3240}"
    "code,pre{background:#1c232e}a{color:#6fb1ff}}"
)


class Index:
    """The handlers, over the routes of the native API."""

    def __init__(self, routes: Sequence[Route], *, otlp_port: int) -> None:
        self._routes = routes
        self._otlp_port = otlp_port

    def routes(self) -> list[Route]:
        """Every route; neither reveals anything that needs a token."""
        return [Route("GET", "/", self.page, OPEN), Route("GET", "/api/v1", self.endpoints, OPEN)]

    async def endpoints(self, _: web.Request) -> web.Response:
        """``GET /api/v1``: every endpoint with what it does."""
        ordered = sorted(self._routes, key=lambda route: (route.path, route.method))
        listed = [{"method": route.method, "path": route.path, "description": _description(route)} for route in ordered]
        return json_response({"version": __version__, "endpoints": listed})

    async def page(self, request: web.Request) -> web.Response:
        """``GET /``: an HTML page that says what this is and where to find things."""
        base, tael = html.escape(f"{request.scheme}://{request.host}"), html.escape(f"tael{cli_flags(request.scheme, request.host)}")
        sources = "".join(f"<tr><th>{name}</th><td><code>{base}{path}</code></td><td>{what}</td></tr>" for name, path, what in _SOURCES)
        body = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>tael</title><style>{_STYLE}</style><h1>tael {__version__}</h1>"
            "<p>An OpenTelemetry backend: traces, logs and metrics in over OTLP, out to Grafana, a JSON API and a command line.</p>"
            f"<h2>Grafana data sources</h2><table>{sources}</table>"
            f"<h2>Send telemetry</h2><pre>export OTEL_EXPORTER_OTLP_ENDPOINT={request.scheme}://HOST:{self._otlp_port}\n"
            "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_SERVICE_NAME=my-service</pre>"
            f"<h2>Look</h2><pre>{tael} services\n{tael} query traces --last 15m\n{tael} live logs</pre>"
            '<p><a href="/api/v1">Endpoints of the JSON API</a> · <a href="/readyz">readiness</a> · <a href="/metrics">metrics of this process</a></p></html>'
        )
        return web.Response(
            text=body, content_type="text/html", headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        )


def _description(route: Route) -> str:
    """The first paragraph of the handler's docstring, without the route that it begins with."""
    text = " ".join((route.handler.__doc__ or "").partition("\n\n")[0].split())
    return text.partition(": ")[2] if text.startswith("``") else text
