"""The commands on spans, log records and metrics, each of them one request to the server, and those on the CLI itself."""

from __future__ import annotations

import os
import sys

import click

from tael import __version__
from tael.cli.arguments import Duration, Step
from tael.cli.failures import Root
from tael.cli.options import Chosen, fields_options, global_options, log_filters, service_option, span_filters, time_range


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
@span_filters
@click.option("--text", help="Words in the prompts or completions of an LLM call.")
@time_range
@click.option("--limit", type=click.IntRange(min=1), help="Spans in one answer [100].")
@click.option("--cursor", help="The cursor of the previous answer, with the same filters.")
@fields_options
@click.pass_obj
def traces(options: Chosen, /, attribute: tuple[str, ...], fields: str, full: bool, **filters: object) -> None:
    """Spans that match every option, newest first."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute), ("payloads", "inline" if full or fields else "")]
    options.show(options.client().get("api", "v1", "traces", parameters=parameters), "print_spans", fields=fields, full=full)


@query.command(name="logs")
@global_options
@log_filters
@time_range
@click.option("--limit", type=click.IntRange(min=1), help="Records in one answer [100].")
@click.option("--cursor", help="The cursor of the previous answer, with the same filters.")
@fields_options
@click.pass_obj
def query_logs(options: Chosen, /, attribute: tuple[str, ...], fields: str, full: bool, **filters: object) -> None:
    """Log records that match every option, newest first."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    options.show(options.client().get("api", "v1", "logs", parameters=parameters), "print_logs", fields=fields, full=full)


@query.command(name="metrics")
@global_options
@click.option("--query", "expression", metavar="PROMQL", help="Evaluate this over the range instead of listing points.")
@click.option(
    "--step", type=Step(), metavar="DURATION", help="Time between two evaluations of --query, such as 5m; by default there are about 250."
)
@service_option
@click.option("--name", help="Name of the metric, in full, or of a family without _total, _bucket, _sum and _count.")
@click.option("--metric-type", type=click.Choice(["gauge", "histogram", "sum", "summary"]), help="Only metrics of this type.")
@time_range
@click.option("--limit", type=click.IntRange(min=1), help="Points in one answer [500].")
@click.pass_obj
def query_metrics(options: Chosen, /, expression: str | None, **filters: object) -> None:
    """Points of metrics, newest first, or the result of a PromQL expression."""
    if expression:
        parameters = [("query", expression), *filters.items()]
        options.show(options.client().get("api", "v1", "metrics", "query", parameters=parameters), "print_series", indent=None)
        return
    if filters["step"] is not None:
        raise click.UsageError("--step needs --query")
    del filters["step"]
    options.show(options.client().get("api", "v1", "metrics", parameters=list(filters.items())), "print_points", indent=None)


@main.group()
def metrics() -> None:
    """List the metrics that are stored."""


@metrics.command()
@global_options
@click.option("--match", default="", metavar="TEXT", help="Only names that contain this, by Prometheus' or OpenTelemetry's spelling.")
@click.option("--all", "everything", is_flag=True, help="Also those that tael derives from spans (traces_*).")
@click.pass_obj
def names(options: Chosen, match: str, everything: bool) -> None:
    """Names of metrics with their types, units and descriptions."""
    parameters = [("match", match), ("derived", "true" if everything else "")]
    options.show(options.client().get("api", "v1", "metrics", "names", parameters=parameters), "print_names")


@main.group()
def get() -> None:
    """Get one thing by its id."""


@get.command()
@global_options
@click.argument("trace_id")
@fields_options
@click.pass_obj
def trace(options: Chosen, trace_id: str, fields: str, full: bool) -> None:
    """Every span of a trace; as a table, its waterfall."""
    parameters = [("payloads", "" if full or fields else "reference")]
    options.show(options.client().get("api", "v1", "traces", trace_id, parameters=parameters), "print_trace", fields=fields, full=full)


@main.command()
@global_options
@click.option("--last", metavar="DURATION", type=Duration(), help="How far back, such as 15m or 2 days.")
@click.pass_obj
def services(options: Chosen, last: str | None) -> None:
    """Services that sent spans, with their error rates."""
    options.show(options.client().get("api", "v1", "services", parameters=[("last", last)]), "print_services")


@main.group()
def live() -> None:
    """Watch telemetry as it arrives, until Ctrl-C: one JSON object a line, or lines for people."""


@live.command(name="traces")
@global_options
@span_filters
@click.option("--trace-id", help="Spans of this trace.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@click.pass_obj
def live_traces(options: Chosen, /, attribute: tuple[str, ...], count: int | None, **filters: object) -> None:
    """Spans that match every option, as they arrive."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    options.follow("traces", parameters, "span_line", count)


@live.command(name="logs")
@global_options
@log_filters
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@click.pass_obj
def live_logs(options: Chosen, /, attribute: tuple[str, ...], count: int | None, **filters: object) -> None:
    """Log records that match every option, as they arrive."""
    parameters = [*filters.items(), *(("attribute", pair) for pair in attribute)]
    options.follow("logs", parameters, "log_line", count)


@main.group()
def server() -> None:
    """Show the state of the server itself."""


@server.command()
@global_options
@click.pass_obj
def status(options: Chosen) -> None:
    """Leader, shards, writers and members of the cluster."""
    options.show(options.client().get("internal", "cluster"), "print_cluster")


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
