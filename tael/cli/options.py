"""Options that every command takes (server, tenant, token, format), and the filters that several commands share.

``--server``, ``--port-rest`` and ``--format`` may stand before or after a command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import click

from tael.cli.arguments import TIMES, Duration, Instant, Severity
from tael.cli.client import Client
from tael.cli.compact import chosen, compact_answer, has_place, known_fields
from tael.cli.complete import complete_services
from tael.runtime.config import CA_FILE, SERVER, TENANT, TOKEN

P = ParamSpec("P")
T = TypeVar("T")
_DEFAULT_SERVER = "http://127.0.0.1:7701"
service_option = click.option("--service", help="Name of the service, in full.", shell_complete=complete_services)


@dataclass
class Chosen:
    """The values of the global options, wherever on the command line they were given."""

    server: str = ""
    port: int | None = None
    output: str = ""
    token: str = ""
    tenant: str = ""

    def client(self) -> Client:
        """A client of the chosen server. Raises UsageError."""
        if self.server and self.port is not None:
            raise click.UsageError("--server and --port-rest exclude each other: the URL has a port of its own")
        if self.port is not None:
            return self._client(f"http://127.0.0.1:{self.port}")
        return self._client(self.server or _server_from_environment() or _DEFAULT_SERVER)

    def _client(self, server: str) -> Client:
        token, tenant = (given or os.environ.get(name, "") for given, name in ((self.token, TOKEN), (self.tenant, TENANT)))
        return Client(server, token=token, tenant=tenant, ca_file=os.environ.get(CA_FILE, ""))

    def show(self, answer: Mapping[str, Any], table: str, *, fields: str = "", full: bool = True, indent: int | None = 2) -> None:
        """Print the answer in the chosen format; ``table`` names the function of ``tael.cli.tables``.

        JSON has only ``fields`` where given; otherwise everything where ``full``, else a compact form. Only the full form is indented.
        """
        if answer.get("partial"):
            click.echo(f"warning: the answer is partial, {', '.join(answer['missing_shards'])} did not answer", err=True)
        if self.output != "table" or fields:
            shown = _chosen(answer, fields) if fields else answer if full else compact_answer(answer)
            click.echo(json.dumps(shown, ensure_ascii=False, indent=indent if full and not fields else None))
        else:
            from tael.cli import tables

            getattr(tables, table)(answer)

    def follow(self, signal: str, parameters: Sequence[tuple[str, object]], line: str, count: int | None) -> None:
        """Print items as they arrive, until Ctrl-C or ``count`` of them; ``line`` names the function of ``tael.cli.tables``."""
        from tael.cli.live import follow

        if self.output != "table":
            follow(self.client(), signal, parameters, lambda item: click.echo(json.dumps(item, ensure_ascii=False)), count)
        else:
            from tael.cli import tables

            follow(self.client(), signal, parameters, getattr(tables, line), count)


def _chosen(answer: Mapping[str, Any], fields: str) -> dict[str, Any]:
    """The answer with only these fields of its items. Raises UsageError for no fields, and for one that no item has."""
    names = [name.strip() for name in fields.split(",") if name.strip()]
    if not names:
        raise click.UsageError(f"--fields: {fields!r} names no field; separate names by commas")
    known = known_fields(answer)
    if known and (unknown := [name for name in names if not has_place(name, known)]):
        raise click.UsageError(
            f"--fields: unknown field {', '.join(unknown)}; the fields are {', '.join(known)}, and members of objects after a dot"
        )
    return chosen(answer, names)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(context.ensure_object(Chosen), name, value)

    return callback


def _server_from_environment() -> str:
    """The URL in TAEL_SERVER. Raises UsageError."""
    value = os.environ.get(SERVER, "")
    if value and not _url(value):
        raise click.UsageError(f"{SERVER}: {value!r} is not an http:// or https:// URL")
    return _url(value)


def _url(value: str) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
    except ValueError:
        return ""
    return parts.geturl() if parts.scheme in ("http", "https") and parts.hostname else ""


def _server_url(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not _url(value):
            raise click.BadParameter(f"{value!r} is not an http:// or https:// URL", context, parameter)
        context.ensure_object(Chosen).server = _url(value)


def with_options(command: Callable[P, T], *options: Callable[[Callable[P, T]], Callable[P, T]]) -> Callable[P, T]:
    """The command with these options, which its help lists in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def global_options(command: Callable[P, T]) -> Callable[P, T]:
    """Add the options that every command takes."""
    options = (
        click.option(
            "--server",
            metavar="URL",
            expose_value=False,
            callback=_server_url,
            help=f"The server to ask [default: ${SERVER}, or {_DEFAULT_SERVER}].",
        ),
        click.option(
            "--port-rest",
            metavar="N",
            type=click.IntRange(1, 65535),
            expose_value=False,
            callback=_remember("port"),
            help="Port of a server on this machine [default: 7701].",
        ),
        click.option(
            "--format",
            type=click.Choice(["json", "table"]),
            expose_value=False,
            callback=_remember("output"),
            help="JSON, or tables for people [default: json]; with --format json given before the command, errors are JSON too.",
        ),
        click.option(
            "--token",
            metavar="TOKEN",
            expose_value=False,
            callback=_remember("token"),
            help=f"Bearer token [default: ${TOKEN}, which keeps it out of the process list].",
        ),
        click.option(
            "--tenant", metavar="NAME", expose_value=False, callback=_remember("tenant"), help=f"Tenant to query [default: ${TENANT}]."
        ),
    )
    return with_options(command, *options)


def fields_options(command: Callable[P, T]) -> Callable[P, T]:
    """Add the options that select how much of each item is printed as JSON."""
    fields = click.option(
        "--fields", default="", metavar="A,B,...", help="Only these fields of each item, such as trace_id,attributes.http.route."
    )
    full = click.option("--full", is_flag=True, help="Print each item in full; by default long texts are cut and empty fields left out.")
    return with_options(command, fields, full)


def span_filters(command: Callable[P, T]) -> Callable[P, T]:
    """Add the filters that stored and live spans share."""
    return with_options(
        command,
        service_option,
        click.option("--operation", help="Part of the span's name."),
        click.option("--min-duration-ms", type=float, help="Spans at least this long."),
        click.option("--max-duration-ms", type=float, help="Spans at most this long."),
        click.option("--status", type=click.Choice(["ok", "error", "unset"]), help="Only spans with this status."),
        click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the span or its resource; repeat to AND."),
        click.option("--model", help="Only LLM calls with this model."),
        click.option("--min-cost-usd", type=float, help="Only LLM calls that cost at least this."),
    )


def log_filters(command: Callable[P, T]) -> Callable[P, T]:
    """Add the filters that stored and live log records share."""
    return with_options(
        command,
        service_option,
        click.option("--severity", type=Severity(), help="Exactly this level."),
        click.option("--min-severity", type=Severity(), help="This level or a more severe one."),
        click.option("--body-contains", metavar="TEXT", help="Part of the body, in any case."),
        click.option("--words", help="Whole words of the body, all of them, in any case; the fastest search."),
        click.option("--trace-id", help="Records of this trace."),
        click.option("--span-id", help="Records of this span."),
        click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the record or its resource; repeat to AND."),
    )


def time_range(command: Callable[P, T]) -> Callable[P, T]:
    """Add the options that select a range of time."""
    return with_options(
        command,
        click.option("--last", metavar="DURATION", type=Duration(), help="How far back, such as 15m, 1h30m or 2 days."),
        click.option("--start", metavar="TIME", type=Instant(), help=f"From this time on: {TIMES}."),
        click.option("--end", metavar="TIME", type=Instant(), help="Before this time, as --start."),
    )
