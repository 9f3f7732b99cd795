"""The commands about LLM calls: ``tael llm``."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from tael.cli.options import Chosen, fields_options, global_options, service_option, time_range, with_options

P = ParamSpec("P")
T = TypeVar("T")
_PATH = ("api", "v1", "llm")


def _filters(command: Callable[P, T]) -> Callable[P, T]:
    """The filters, range and limit that every list takes."""
    return with_options(
        command,
        service_option,
        click.option("--provider", help="The provider that serves the model."),
        click.option("--model", help="The requested model, or the one that answered."),
        click.option("--session", help="Only this session."),
        click.option("--user", help="Only this user."),
        click.option("--agent", help="Only this agent."),
        click.option("--tool", help="Only this tool."),
        time_range,
        click.option("--limit", type=click.IntRange(min=1), help="Lines in one answer [100]."),
    )


@click.group()
def llm() -> None:
    """LLM calls: what they cost, what was said in them, and the tools that they called."""


@llm.command()
@global_options
@_filters
@click.option("--operation", metavar="KIND", help="chat, completion, embedding, tool, agent, workflow, chain, retriever, other or any.")
@click.option("--status", type=click.Choice(["ok", "error", "unset"]), help="Only spans with this status.")
@click.option("--min-cost-usd", type=float, help="Only calls that cost at least this.")
@click.option("--text", help="Words in the prompts or completions.")
@click.option("--cursor", help="The cursor of the previous answer, with the same filters.")
@fields_options
@click.pass_obj
def calls(options: Chosen, /, fields: str, full: bool, **filters: object) -> None:
    """Calls that match every option, newest first."""
    answer = options.client().get(*_PATH, "calls", parameters=list(filters.items()))
    options.show(answer, "print_calls", fields=fields, full=full)


@llm.command()
@global_options
@_filters
@click.option(
    "--by", help="service, provider, model, response_model, operation, session, user, agent or tool, with commas between [model]."
)
@click.pass_obj
def usage(options: Chosen, /, **filters: object) -> None:
    """Calls, tokens and cost by model or other keys, each call counted once; by default of the last day."""
    options.show(options.client().get(*_PATH, "usage", parameters=list(filters.items())), "print_usage")


@llm.command()
@global_options
@_filters
@click.pass_obj
def sessions(options: Chosen, /, **filters: object) -> None:
    """Sessions and their usage, newest first; by default of the last day."""
    options.show(options.client().get(*_PATH, "sessions", parameters=list(filters.items())), "print_sessions")


@llm.command()
@global_options
@click.argument("session_id", metavar="SESSION")
@click.pass_obj
def session(options: Chosen, session_id: str) -> None:
    """The conversation of a session, in order and across traces."""
    options.show(options.client().get(*_PATH, "sessions", session_id), "print_session")


@llm.command()
@global_options
@_filters
@click.pass_obj
def tools(options: Chosen, /, **filters: object) -> None:
    """How often each tool was called, how long it took and how often it failed; by default of the last day."""
    options.show(options.client().get(*_PATH, "tools", parameters=list(filters.items())), "print_tools")
