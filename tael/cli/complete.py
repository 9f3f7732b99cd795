"""Completion of names that only the server knows."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import click

from tael.cli.client import Client, Failed
from tael.runtime.config import SERVER, TENANT, TOKEN

_SECONDS = 1.0
"""A shell that waits longer feels broken; without an answer nothing is completed."""


def complete_services(context: click.Context, _: click.Parameter, incomplete: str) -> list[Any]:
    """The services of the last day whose names begin with ``incomplete``."""
    from click.shell_completion import CompletionItem

    given = context.find_root().obj
    server = getattr(given, "server", "") or os.environ.get(SERVER, "") or "http://127.0.0.1:7701"
    client = Client(server, token=os.environ.get(TOKEN, ""), tenant=os.environ.get(TENANT, ""), timeout_seconds=_SECONDS)
    with contextlib.suppress(Failed):
        found = client.get("api", "v1", "services", parameters=[("last", "24h")])
        return [CompletionItem(service["name"]) for service in found["services"] if service["name"].startswith(incomplete)]
    return []
