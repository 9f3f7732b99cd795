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
        click.option("--provider", help="Who serves the model."),
        click.option("--model", help="The model that was asked for, or that answered."),
        click.option("--session", help="Of this session."),
        click.option("--user", help="For this user."),
        click.option("--agent", help="By this agent."),
        click.option("--tool", help="Of this tool."),
        time_range,
        click.option("--limit", type=click.IntRange(min=1), help="Lines in one answer [100]."),
    )


@click.group()
def llm() -> None:
    """Calls of models, what they cost, what was said in them, and the tools that were called."""


@llm.command()
@global_options
@_filters
@click.option("--operation", metavar="KIND", help="chat, completion, embedding, tool, agent, workflow, chain, retriever, other or any.")
@click.option("--status", type=click.Choice(["ok", "error", "unset"]), help="Status of the span.")
@click.option("--min-cost-usd", type=float, help="Calls that cost at least this.")
@click.option("--text", help="Words in the prompts or completions.")
@click.option("--cursor", help="The cursor of the previous answer, with the same filters.")
@fields_options
@click.pass_obj
def calls(asked: Chosen, /, fields: str, full: bool, **filters: object) -> None:
    """Calls that match every option, newest first."""
    answer = asked.client().get(*_PATH, "calls", parameters=list(filters.items()))
    asked.show(answer, "print_calls", fields=fields, full=full)


@llm.command()
@global_options
@_filters
@click.option(
    "--by", help="service, provider, model, response_model, operation, session, user, agent or tool, with commas between [model]."
)
@click.pass_obj
def usage(asked: Chosen, /, **filters: object) -> None:
    """Calls, tokens and cost by model and more, each call counted once; the last day unless said otherwise."""
    asked.show(asked.client().get(*_PATH, "usage", parameters=list(filters.items())), "print_usage")


@llm.command()
@global_options
@_filters
@click.pass_obj
def sessions(asked: Chosen, /, **filters: object) -> None:
    """Sessions and what was used in them, the newest first; the last day unless said otherwise."""
    asked.show(asked.client().get(*_PATH, "sessions", parameters=list(filters.items())), "print_sessions")


@llm.command()
@global_options
@click.argument("session_id", metavar="SESSION")
@click.pass_obj
def session(asked: Chosen, session_id: str) -> None:
    """The conversation of a session, in order and across traces."""
    asked.show(asked.client().get(*_PATH, "sessions", session_id), "print_session")


@llm.command()
@global_options
@_filters
@click.pass_obj
def tools(asked: Chosen, /, **filters: object) -> None:
    """How often each tool was called, how long it took and how often it failed; the last day unless said otherwise."""
    asked.show(asked.client().get(*_PATH, "tools", parameters=list(filters.items())), "print_tools")
