"""The commands, each one question to the server. ``--server``, ``--port-rest`` and ``--format`` may stand before or behind a command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import click

from tael import __version__
from tael.cli.client import Client
from tael.model.log import LEVELS
from tael.runtime.config import TENANT, TOKEN

P = ParamSpec("P")
T = TypeVar("T")
_DEFAULT_SERVER = "http://127.0.0.1:7701"
_LETTERS = ("api", "v1", "admin", "deadletters")


@dataclass
class Chosen:
    """What the global options say, wherever they stood."""

    server: str = ""
    port: int | None = None
    output: str = "json"
    token: str = ""
    tenant: str = ""

    def client(self) -> Client:
        """The server to ask. Raises UsageError."""
        if self.server and self.port is not None:
            raise click.UsageError("--server and --port-rest exclude each other: the URL has a port of its own")
        if self.port is not None:
            return self._client(f"http://127.0.0.1:{self.port}")
        return self._client(self.server or _DEFAULT_SERVER)

    def _client(self, server: str) -> Client:
        token, tenant = (given or os.environ.get(name, "") for given, name in ((self.token, TOKEN), (self.tenant, TENANT)))
        return Client(server, token=token, tenant=tenant)

    def show(self, answer: Mapping[str, Any], table: str) -> None:
        """Print the answer as asked for; ``table`` names the function of ``tael.cli.tables``."""
        if answer.get("partial"):
            click.echo(f"warning: the answer is partial, {', '.join(answer['missing_shards'])} did not answer", err=True)
        if self.output == "json":
            click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            from tael.cli import tables

            getattr(tables, table)(answer)

    def follow(self, signal: str, parameters: Sequence[tuple[str, object]], line: str, count: int | None) -> None:
        """Print what comes in until Ctrl-C or ``count`` of them; ``line`` names the function of ``tael.cli.tables``."""
        from tael.cli.live import follow

        if self.output == "json":
            follow(self.client(), signal, parameters, lambda item: click.echo(json.dumps(item, ensure_ascii=False)), count)
        else:
            from tael.cli import tables

            follow(self.client(), signal, parameters, getattr(tables, line), count)


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(context.ensure_object(Chosen), name, value)

    return callback


def _server_url(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise click.BadParameter(f"{value!r} is not an http:// or https:// URL", context, parameter)
        context.ensure_object(Chosen).server = parts.geturl()


def global_options(command: Callable[P, T]) -> Callable[P, T]:
    """Add the options that every command takes."""
    options = (
        click.option("--server", metavar="URL", expose_value=False, callback=_server_url, help=f"The server to ask [{_DEFAULT_SERVER}]."),
        click.option(
            "--port-rest",
            metavar="N",
            type=click.IntRange(1, 65535),
            expose_value=False,
            callback=_remember("port"),
            help="Its port, when it is on this machine [7701].",
        ),
        click.option(
            "--format",
            type=click.Choice(["json", "table"]),
            expose_value=False,
            callback=_remember("output"),
            help="JSON, or tables for people [json].",
        ),
        click.option(
            "--token",
            metavar="TOKEN",
            expose_value=False,
            callback=_remember("token"),
            help=f"Bearer token; {TOKEN} keeps it out of sight.",
        ),
        click.option("--tenant", metavar="NAME", expose_value=False, callback=_remember("tenant"), help=f"Whose telemetry, or {TENANT}."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tael", message="%(prog)s %(version)s")
@global_options
@click.pass_context
def main(context: click.Context) -> None:
    """Ask a tael server about traces, or start one."""
    context.ensure_object(Chosen)


@main.group()
def query() -> None:
    """Find telemetry by what it says."""


@query.command()
@global_options
@click.option("--service", help="Name of the service, in full.")
@click.option("--operation", help="Part of the span's name.")
@click.option("--min-duration-ms", type=float, help="Spans at least this long.")
@click.option("--max-duration-ms", type=float, help="Spans at most this long.")
@click.option("--status", type=click.Choice(["ok", "error", "unset"]), help="Status of the span.")
@click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the span or its resource; repeat to AND.")
@click.option("--text", help="Words in the prompts or completions of an LLM call.")
@click.option("--model", help="Model of an LLM call.")
@click.option("--min-cost-usd", type=float, help="LLM calls that cost at least this.")
@click.option("--last", metavar="DURATION", help="How far back, such as 15m, 1h30m or 2d.")
@click.option("--start", metavar="INSTANT", help="Not before this; RFC 3339 or a count since 1970.")
@click.option("--end", metavar="INSTANT", help="Before this.")
@click.option("--limit", type=click.IntRange(min=1), help="Spans in one answer [100].")
@click.option("--cursor", help="The cursor of the previous answer, with the same filters.")
@click.pass_obj
def traces(chosen: Chosen, /, attribute: tuple[str, ...], **filters: object) -> None:
    """Spans that match every option, newest first."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    chosen.show(chosen.client().get("api", "v1", "traces", parameters=parameters), "print_spans")


@query.command(name="logs")
@global_options
@click.option("--service", help="Name of the service, in full.")
@click.option("--severity", type=click.Choice(LEVELS), help="Level of the record, this one alone.")
@click.option("--min-severity", type=click.Choice(LEVELS), help="This level or a more severe one.")
@click.option("--body-contains", metavar="TEXT", help="Part of the body, in any case.")
@click.option("--words", help="Whole words of the body, all of them, in any case; the fastest search.")
@click.option("--trace-id", help="Records of this trace.")
@click.option("--span-id", help="Records of this span.")
@click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the record or its resource; repeat to AND.")
@click.option("--last", metavar="DURATION", help="How far back, such as 15m, 1h30m or 2d.")
@click.option("--start", metavar="INSTANT", help="Not before this; RFC 3339 or a count since 1970.")
@click.option("--end", metavar="INSTANT", help="Before this.")
@click.option("--limit", type=click.IntRange(min=1), help="Records in one answer [100].")
@click.option("--cursor", help="The cursor of the previous answer, with the same filters.")
@click.pass_obj
def query_logs(chosen: Chosen, /, attribute: tuple[str, ...], **filters: object) -> None:
    """Log records that match every option, newest first."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    chosen.show(chosen.client().get("api", "v1", "logs", parameters=parameters), "print_logs")


@query.command(name="metrics")
@global_options
@click.option("--query", "expression", metavar="PROMQL", help="Evaluate this over the range instead of listing points.")
@click.option("--step", type=float, metavar="SECONDS", help="Between two evaluations of --query; about 250 of them when unset.")
@click.option("--service", help="Name of the service, in full.")
@click.option("--name", help="Name of the metric, in full, or of a family without _total, _bucket, _sum and _count.")
@click.option("--metric-type", type=click.Choice(["gauge", "histogram", "sum", "summary"]), help="What kind of metric.")
@click.option("--last", metavar="DURATION", help="How far back, such as 15m, 1h30m or 2d.")
@click.option("--start", metavar="INSTANT", help="Not before this; RFC 3339 or a count since 1970.")
@click.option("--end", metavar="INSTANT", help="Before this.")
@click.option("--limit", type=click.IntRange(min=1), help="Points in one answer [500].")
@click.pass_obj
def query_metrics(chosen: Chosen, /, expression: str | None, **filters: object) -> None:
    """Points of metrics, newest first, or what a PromQL expression comes to."""
    if expression:
        parameters = [("query", expression), *filters.items()]
        chosen.show(chosen.client().get("api", "v1", "metrics", "query", parameters=parameters), "print_series")
        return
    if filters["step"] is not None:
        raise click.UsageError("--step goes with --query")
    del filters["step"]
    chosen.show(chosen.client().get("api", "v1", "metrics", parameters=list(filters.items())), "print_points")


@main.group()
def get() -> None:
    """Get one thing by its id."""


@get.command()
@global_options
@click.argument("trace_id")
@click.pass_obj
def trace(chosen: Chosen, trace_id: str) -> None:
    """Every span of a trace; as a table, its waterfall."""
    chosen.show(chosen.client().get("api", "v1", "traces", trace_id), "print_trace")


@main.command()
@global_options
@click.option("--last", metavar="DURATION", help="How far back, such as 15m or 2d.")
@click.pass_obj
def services(chosen: Chosen, last: str | None) -> None:
    """The services that sent spans, with their error rates."""
    chosen.show(chosen.client().get("api", "v1", "services", parameters=[("last", last)]), "print_services")


@main.group()
def live() -> None:
    """Watch telemetry as it comes in, until Ctrl-C: a JSON object a line, or lines for people."""


@live.command(name="traces")
@global_options
@click.option("--service", help="Name of the service, in full.")
@click.option("--operation", help="Part of the span's name.")
@click.option("--min-duration-ms", type=float, help="Spans at least this long.")
@click.option("--max-duration-ms", type=float, help="Spans at most this long.")
@click.option("--status", type=click.Choice(["ok", "error", "unset"]), help="Status of the span.")
@click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the span or its resource; repeat to AND.")
@click.option("--trace-id", help="Spans of this trace.")
@click.option("--model", help="Model of an LLM call.")
@click.option("--min-cost-usd", type=float, help="LLM calls that cost at least this.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@click.pass_obj
def live_traces(chosen: Chosen, /, attribute: tuple[str, ...], count: int | None, **filters: object) -> None:
    """Spans that match every option, as they come in."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    chosen.follow("traces", parameters, "span_line", count)


@live.command(name="logs")
@global_options
@click.option("--service", help="Name of the service, in full.")
@click.option("--severity", type=click.Choice(LEVELS), help="Level of the record, this one alone.")
@click.option("--min-severity", type=click.Choice(LEVELS), help="This level or a more severe one.")
@click.option("--body-contains", metavar="TEXT", help="Part of the body, in any case.")
@click.option("--words", help="Whole words of the body, all of them, in any case.")
@click.option("--trace-id", help="Records of this trace.")
@click.option("--span-id", help="Records of this span.")
@click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the record or its resource; repeat to AND.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@click.pass_obj
def live_logs(chosen: Chosen, /, attribute: tuple[str, ...], count: int | None, **filters: object) -> None:
    """Log records that match every option, as they come in."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    chosen.follow("logs", parameters, "log_line", count)


@main.group()
def deadletter() -> None:
    """What the hot tier refused for good: look at it, put it into the log again, or let it go."""


@deadletter.command(name="list")
@global_options
@click.option("--signal", type=click.Choice(["traces", "logs", "metrics"]), help="Only of this signal.")
@click.option("--shard", type=click.IntRange(min=0), help="Only of this shard.")
@click.option("--after", metavar="ID", type=click.IntRange(min=0), help="Behind this one: the `next` of the previous answer.")
@click.option("--limit", type=click.IntRange(min=1), help="Letters in one answer [100].")
@click.pass_obj
def list_letters(chosen: Chosen, /, **filters: object) -> None:
    """The dead letters, oldest first."""
    chosen.show(chosen.client().get(*_LETTERS, parameters=filters.items()), "print_letters")


@deadletter.command()
@global_options
@click.argument("letter_id", metavar="ID")
@click.pass_obj
def show(chosen: Chosen, letter_id: str) -> None:
    """One letter with its reason and its body, decoded."""
    chosen.show(chosen.client().get(*_LETTERS, letter_id), "print_letter")


@deadletter.command()
@global_options
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def replay(chosen: Chosen, letter_ids: tuple[str, ...]) -> None:
    """Append letters to the log again; each is forgotten once that is durable."""
    client = chosen.client()
    done = [client.send("POST", *_LETTERS, letter_id, "replay") for letter_id in letter_ids]
    chosen.show({"letters": done, "next": None}, "print_letters")


@deadletter.command()
@global_options
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def drop(chosen: Chosen, letter_ids: tuple[str, ...]) -> None:
    """Forget letters for good."""
    client = chosen.client()
    done = [client.send("DELETE", *_LETTERS, letter_id) for letter_id in letter_ids]
    chosen.show({"letters": done, "next": None}, "print_letters")


@main.group()
def server() -> None:
    """Look at the server itself."""


@server.command()
@global_options
@click.pass_obj
def status(chosen: Chosen) -> None:
    """Leader, shards, writers and members of the cluster."""
    chosen.show(chosen.client().get("internal", "cluster"), "print_cluster")


@main.command()
def serve() -> None:
    """Run the whole suite on this machine until Ctrl-C; settings come from TAEL_ variables."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "services", "serve"])  # noqa: S606  # no shell is wanted
