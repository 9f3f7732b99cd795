"""``tael doctor``: checks a running cluster."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime

import click

from tael.cli.client import EXIT_FAILED
from tael.cli.diagnose import Answers, diagnose
from tael.cli.options import Chosen, global_options

_DELETIONS = 1000
_MARKS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "failure": ("FAILURE", "red")}


@click.command()
@global_options
@click.pass_obj
def doctor(options: Chosen) -> None:
    """Check a running cluster and report what is wrong and what to do; exits with 1 on a failure. Needs an admin's token where tokens are
    on.
    """
    client = options.client()
    ready, ahead = client.readiness()
    answers = Answers(
        cluster=client.get("internal", "cluster"),
        ready=ready,
        services=client.get("api", "v1", "services", parameters=[("last", "15m")]),
        cold=client.get("api", "v1", "admin", "cold"),
        deletions=client.get("api", "v1", "deletions", parameters=[("limit", _DELETIONS)]),
        skew_seconds=ahead,
        now=datetime.now(UTC),
    )
    findings = diagnose(answers)
    if options.output != "table":
        click.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            mark, colour = _MARKS[finding.level]
            click.echo(f"{click.style(mark, fg=colour)}  {finding.what}" + (f"\n         -> {finding.cure}" if finding.cure else ""))
    if any(finding.level == "failure" for finding in findings):
        sys.exit(EXIT_FAILED)
