"""The start-up banner: the addresses of the suite, and how to send to it. Pure, except the function that draws it."""

from __future__ import annotations

import io
from collections.abc import Mapping

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from services.serve.settings import ServeSettings
from tael.runtime.config import Address
from tael.runtime.reach import cli_flags


def reachable(address: Address) -> str:
    """The address at which a client on this machine reaches a listener; loopback for one on all addresses."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound
    return str(Address(loopback.get(address.host, address.host), address.port))


def _scheme(settings: ServeSettings) -> str:
    return "http" if settings.tls_cert is None else "https"


def _url(settings: ServeSettings, address: Address) -> str:
    return f"{_scheme(settings)}://{reachable(address)}"


def sections(settings: ServeSettings, ports: Mapping[str, int], tael: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The banner's content: titled groups of label and value. ``tael`` is how to call the command in this machine's shell."""
    rest, flags = _url(settings, settings.rest_api_addr), cli_flags(_scheme(settings), reachable(settings.rest_api_addr))
    nodes = ", ".join(f"http://127.0.0.1:{ports[f'hotnode-{n}']}" for n in range(settings.shards))
    internal = f"http://127.0.0.1:{ports['serve-internal']}"
    return [
        (
            "listening",
            [
                ("REST API", rest),
                *([("gRPC API", f"{reachable(settings.grpc_api_addr)} (Tempo's and Jaeger's services)")] if settings.grpc_api_addr else []),
                ("OTLP gRPC", _url(settings, settings.otlp_grpc_addr)),
                ("OTLP HTTP", _url(settings, settings.otlp_http_addr)),
                *([("Datadog", f"{_url(settings, settings.dd_agent_addr)} (as a trace agent)")] if settings.dd_agent_addr else []),
                ("Grafana", f"{rest} with /prometheus, /loki-api, /tempo, /jaeger (data sources of these types)"),
            ],
        ),
        (
            "storage",
            [
                ("data", str(settings.directory)),
                ("WAL", f"NATS JetStream, {_servers(settings)}fsync on every write, nats://127.0.0.1:{ports['nats']}"),
                ("hot tier", f"{settings.shards} hot node{'s' if settings.shards > 1 else ''} (ClickHouse engine), {nodes}"),
                ("cold tier", f"SeaweedFS (S3), http://127.0.0.1:{ports['s3']}"),
            ],
        ),
        ("metrics", [("Prometheus", f"{internal}/internal/targets (HTTP service discovery: every process)")]),
        ("look from here", [("services", f"{tael}{flags} services"), ("spans", f"{tael}{flags} query traces --last 15m")]),
    ]


def _servers(settings: ServeSettings) -> str:
    return f"{settings.nats_nodes} servers, " if settings.nats_nodes > 1 else ""


def exports(settings: ServeSettings) -> list[str]:
    """The shell lines that point a service's OpenTelemetry SDK here."""
    return [
        f"export OTEL_EXPORTER_OTLP_ENDPOINT={_url(settings, settings.otlp_http_addr)}",
        "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        "export OTEL_SERVICE_NAME=my-service",
    ]


def plain(settings: ServeSettings, ports: Mapping[str, int], tael: str = "tael") -> str:
    """The banner for a pipe or a file."""
    lines = ["tael is ready"]
    for title, rows in sections(settings, ports, tael):
        lines += ["", title, *(f"  {label:<10} {value}" for label, value in rows)]
    return "\n".join([*lines, "", "send to it", *(f"  {line}" for line in exports(settings)), ""])


def pretty(settings: ServeSettings, ports: Mapping[str, int], width: int, tael: str = "tael") -> str:
    """The banner for a terminal of ``width`` columns; export lines are not wrapped, so that they can be copied."""
    table = Table.grid(padding=(0, 2))
    for title, rows in sections(settings, ports, tael):
        table.add_row(Text(title, "bold cyan"), "")
        for label, value in rows:
            table.add_row(Text(f"  {label}", "dim"), Text(value))
    table.add_row(Text("send to it", "bold cyan"), "")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, highlight=False)
    console.print(Panel(table, title="[bold]tael is ready[/bold]", subtitle="Ctrl-C drains and stops", border_style="green", expand=False))
    for line in exports(settings):
        console.print(Text(f"  {line}", "green"), soft_wrap=True)
    return out.getvalue()
