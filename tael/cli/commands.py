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
from tael.cli.arguments import TIMES, Duration, Instant, Severity
from tael.cli.client import Client
from tael.cli.compact import chosen, compact_answer, has_place, known_fields
from tael.cli.complete import complete_services
from tael.cli.failures import Root
from tael.runtime.config import CA_FILE, SERVER, TENANT, TOKEN

P = ParamSpec("P")
T = TypeVar("T")
_DEFAULT_SERVER = "http://127.0.0.1:7701"
_LETTERS = ("api", "v1", "admin", "deadletters")


@dataclass
class Chosen:
    """What the global options say, wherever they stood."""

    server: str = ""
    port: int | None = None
    output: str = ""
    token: str = ""
    tenant: str = ""

    def client(self) -> Client:
        """The server to ask. Raises UsageError."""
        if self.server and self.port is not None:
            raise click.UsageError("--server and --port-rest exclude each other: the URL has a port of its own")
        if self.port is not None:
            return self._client(f"http://127.0.0.1:{self.port}")
        return self._client(self.server or _server_from_environment() or _DEFAULT_SERVER)

    def _client(self, server: str) -> Client:
        token, tenant = (given or os.environ.get(name, "") for given, name in ((self.token, TOKEN), (self.tenant, TENANT)))
        return Client(server, token=token, tenant=tenant, ca_file=os.environ.get(CA_FILE, ""))

    def show(self, answer: Mapping[str, Any], table: str, *, fields: str = "", full: bool = True, indent: int | None = 2) -> None:
        """Print the answer as asked for; ``table`` names the function of ``tael.cli.tables``.

        As JSON with ``fields`` alone where they are given, and else whole where ``full``, or compact. Only what is whole is indented.
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
        """Print what comes in until Ctrl-C or ``count`` of them; ``line`` names the function of ``tael.cli.tables``."""
        from tael.cli.live import follow

        if self.output != "table":
            follow(self.client(), signal, parameters, lambda item: click.echo(json.dumps(item, ensure_ascii=False)), count)
        else:
            from tael.cli import tables

            follow(self.client(), signal, parameters, getattr(tables, line), count)


def _chosen(answer: Mapping[str, Any], fields: str) -> dict[str, Any]:
    """The answer with these fields of its items. Raises UsageError for none, and for one that no item has a place for."""
    names = [name.strip() for name in fields.split(",") if name.strip()]
    if not names:
        raise click.UsageError(f"--fields: {fields!r} names none; give names with commas between")
    known = known_fields(answer)
    if known and (unknown := [name for name in names if not has_place(name, known)]):
        raise click.UsageError(
            f"--fields: there is no {', '.join(unknown)}; there are {', '.join(known)}, and keys of objects behind a dot"
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
    parts = urlsplit(value if "://" in value else f"http://{value}")
    return parts.geturl() if parts.scheme in ("http", "https") and parts.hostname else ""


def _server_url(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        if not _url(value):
            raise click.BadParameter(f"{value!r} is not an http:// or https:// URL", context, parameter)
        context.ensure_object(Chosen).server = _url(value)


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
    for option in reversed(options):
        command = option(command)
    return command


def fields_options(command: Callable[P, T]) -> Callable[P, T]:
    """Add the options that say how much of each item is printed as JSON."""
    fields = click.option(
        "--fields", default="", metavar="A,B,...", help="Only these fields of each item, such as trace_id,attributes.http.route."
    )
    full = click.option("--full", is_flag=True, help="Everything of each item; without it long texts are cut and empty fields left out.")
    return fields(full(command))


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tael", message="%(prog)s %(version)s")
@global_options
@click.pass_context
def main(context: click.Context) -> None:
    """Query a tael server for traces, logs and metrics, or start one."""
    context.ensure_object(Chosen)


@main.group()
def query() -> None:
    """Search traces, logs and metrics."""


@query.command()
@global_options
@click.option("--service", help="Name of the service, in full.", shell_complete=complete_services)
@click.option("--operation", help="Part of the span's name.")
@click.option("--min-duration-ms", type=float, help="Spans at least this long.")
@click.option("--max-duration-ms", type=float, help="Spans at most this long.")
@click.option("--status", type=click.Choice(["ok", "error", "unset"]), help="Status of the span.")
@click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the span or its resource; repeat to AND.")
@click.option("--text", help="Words in the prompts or completions of an LLM call.")
@click.option("--model", help="Model of an LLM call.")
@click.option("--min-cost-usd", type=float, help="LLM calls that cost at least this.")
@click.option("--last", metavar="DURATION", type=Duration(), help="How far back, such as 15m, 1h30m or 2 days.")
@click.option("--start", metavar="TIME", type=Instant(), help=f"From this time on: {TIMES}.")
@click.option("--end", metavar="TIME", type=Instant(), help="Before this time, as --start.")
@click.option("--limit", type=click.IntRange(min=1), help="Spans in one answer [100].")
@click.option("--cursor", help="The cursor of the previous answer, with the same filters.")
@fields_options
@click.pass_obj
def traces(asked: Chosen, /, attribute: tuple[str, ...], fields: str, full: bool, **filters: object) -> None:
    """Spans that match every option, newest first."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute), ("payloads", "inline" if full or fields else "")]
    asked.show(asked.client().get("api", "v1", "traces", parameters=parameters), "print_spans", fields=fields, full=full)


@query.command(name="logs")
@global_options
@click.option("--service", help="Name of the service, in full.", shell_complete=complete_services)
@click.option("--severity", type=Severity(), help="Exactly this level.")
@click.option("--min-severity", type=Severity(), help="This level or a more severe one.")
@click.option("--body-contains", metavar="TEXT", help="Part of the body, in any case.")
@click.option("--words", help="Whole words of the body, all of them, in any case; the fastest search.")
@click.option("--trace-id", help="Records of this trace.")
@click.option("--span-id", help="Records of this span.")
@click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the record or its resource; repeat to AND.")
@click.option("--last", metavar="DURATION", type=Duration(), help="How far back, such as 15m, 1h30m or 2 days.")
@click.option("--start", metavar="TIME", type=Instant(), help=f"From this time on: {TIMES}.")
@click.option("--end", metavar="TIME", type=Instant(), help="Before this time, as --start.")
@click.option("--limit", type=click.IntRange(min=1), help="Records in one answer [100].")
@click.option("--cursor", help="The cursor of the previous answer, with the same filters.")
@fields_options
@click.pass_obj
def query_logs(asked: Chosen, /, attribute: tuple[str, ...], fields: str, full: bool, **filters: object) -> None:
    """Log records that match every option, newest first."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    asked.show(asked.client().get("api", "v1", "logs", parameters=parameters), "print_logs", fields=fields, full=full)


@query.command(name="metrics")
@global_options
@click.option("--query", "expression", metavar="PROMQL", help="Evaluate this over the range instead of listing points.")
@click.option("--step", type=float, metavar="SECONDS", help="Between two evaluations of --query; about 250 of them when unset.")
@click.option("--service", help="Name of the service, in full.", shell_complete=complete_services)
@click.option("--name", help="Name of the metric, in full, or of a family without _total, _bucket, _sum and _count.")
@click.option("--metric-type", type=click.Choice(["gauge", "histogram", "sum", "summary"]), help="What kind of metric.")
@click.option("--last", metavar="DURATION", type=Duration(), help="How far back, such as 15m, 1h30m or 2 days.")
@click.option("--start", metavar="TIME", type=Instant(), help=f"From this time on: {TIMES}.")
@click.option("--end", metavar="TIME", type=Instant(), help="Before this time, as --start.")
@click.option("--limit", type=click.IntRange(min=1), help="Points in one answer [500].")
@click.pass_obj
def query_metrics(asked: Chosen, /, expression: str | None, **filters: object) -> None:
    """Points of metrics, newest first, or what a PromQL expression comes to."""
    if expression:
        parameters = [("query", expression), *filters.items()]
        asked.show(asked.client().get("api", "v1", "metrics", "query", parameters=parameters), "print_series", indent=None)
        return
    if filters["step"] is not None:
        raise click.UsageError("--step goes with --query")
    del filters["step"]
    asked.show(asked.client().get("api", "v1", "metrics", parameters=list(filters.items())), "print_points", indent=None)


@main.group()
def metrics() -> None:
    """Look at what metrics there are."""


@metrics.command()
@global_options
@click.option("--match", default="", metavar="TEXT", help="Only names that contain this, by Prometheus' or OpenTelemetry's spelling.")
@click.option("--all", "everything", is_flag=True, help="Also those that tael derives from spans (traces_*).")
@click.pass_obj
def names(asked: Chosen, match: str, everything: bool) -> None:
    """Names of metrics with their types, units and descriptions."""
    parameters = [("match", match), ("derived", "true" if everything else "")]
    asked.show(asked.client().get("api", "v1", "metrics", "names", parameters=parameters), "print_names")


@main.group()
def get() -> None:
    """Get one thing by its id."""


@get.command()
@global_options
@click.argument("trace_id")
@fields_options
@click.pass_obj
def trace(asked: Chosen, trace_id: str, fields: str, full: bool) -> None:
    """Every span of a trace; as a table, its waterfall."""
    parameters = [("payloads", "" if full or fields else "reference")]
    asked.show(asked.client().get("api", "v1", "traces", trace_id, parameters=parameters), "print_trace", fields=fields, full=full)


@main.command()
@global_options
@click.option("--last", metavar="DURATION", type=Duration(), help="How far back, such as 15m or 2 days.")
@click.pass_obj
def services(asked: Chosen, last: str | None) -> None:
    """Services that sent spans, with their error rates."""
    asked.show(asked.client().get("api", "v1", "services", parameters=[("last", last)]), "print_services")


@main.group()
def live() -> None:
    """Watch telemetry as it comes in, until Ctrl-C: a JSON object a line, or lines for people."""


@live.command(name="traces")
@global_options
@click.option("--service", help="Name of the service, in full.", shell_complete=complete_services)
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
def live_traces(asked: Chosen, /, attribute: tuple[str, ...], count: int | None, **filters: object) -> None:
    """Spans that match every option, as they come in."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    asked.follow("traces", parameters, "span_line", count)


@live.command(name="logs")
@global_options
@click.option("--service", help="Name of the service, in full.", shell_complete=complete_services)
@click.option("--severity", type=Severity(), help="Exactly this level.")
@click.option("--min-severity", type=Severity(), help="This level or a more severe one.")
@click.option("--body-contains", metavar="TEXT", help="Part of the body, in any case.")
@click.option("--words", help="Whole words of the body, all of them, in any case.")
@click.option("--trace-id", help="Records of this trace.")
@click.option("--span-id", help="Records of this span.")
@click.option("--attribute", multiple=True, metavar="KEY=VALUE", help="An attribute of the record or its resource; repeat to AND.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@click.pass_obj
def live_logs(asked: Chosen, /, attribute: tuple[str, ...], count: int | None, **filters: object) -> None:
    """Log records that match every option, as they come in."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    asked.follow("logs", parameters, "log_line", count)


@main.group()
def deadletter() -> None:
    """Items that the hot tier refused for good: list, show, replay or drop them."""


@deadletter.command(name="list")
@global_options
@click.option("--signal", type=click.Choice(["traces", "logs", "metrics"]), help="Only of this signal.")
@click.option("--shard", type=click.IntRange(min=0), help="Only of this shard.")
@click.option("--after", metavar="ID", type=click.IntRange(min=0), help="Behind this one: the `next` of the previous answer.")
@click.option("--limit", type=click.IntRange(min=1), help="Letters in one answer [100].")
@click.pass_obj
def list_letters(asked: Chosen, /, **filters: object) -> None:
    """The dead letters, oldest first."""
    asked.show(asked.client().get(*_LETTERS, parameters=filters.items()), "print_letters")


@deadletter.command()
@global_options
@click.argument("letter_id", metavar="ID")
@click.pass_obj
def show(asked: Chosen, letter_id: str) -> None:
    """One letter with its reason and its body, decoded."""
    asked.show(asked.client().get(*_LETTERS, letter_id), "print_letter")


@deadletter.command()
@global_options
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def replay(asked: Chosen, letter_ids: tuple[str, ...]) -> None:
    """Append letters to the WAL again; each is removed once that is durable."""
    client = asked.client()
    done = [client.send("POST", *_LETTERS, letter_id, "replay") for letter_id in letter_ids]
    asked.show({"letters": done, "next": None}, "print_letters")


@deadletter.command()
@global_options
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def drop(asked: Chosen, letter_ids: tuple[str, ...]) -> None:
    """Remove letters for good."""
    client = asked.client()
    done = [client.send("DELETE", *_LETTERS, letter_id) for letter_id in letter_ids]
    asked.show({"letters": done, "next": None}, "print_letters")


@main.group()
def server() -> None:
    """Look at the server itself."""


@server.command()
@global_options
@click.pass_obj
def status(asked: Chosen) -> None:
    """Leader, shards, writers and members of the cluster."""
    asked.show(asked.client().get("internal", "cluster"), "print_cluster")


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell; for bash: eval "$(tael completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(main, {}, "tael", "_TAEL_COMPLETE").source())


@main.command()
def serve() -> None:
    """Run the whole suite on this machine until Ctrl-C; settings come from TAEL_ variables."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "services", "serve"])  # noqa: S606  # no shell is wanted
