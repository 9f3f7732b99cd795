"""Answers as tables for people. Text from telemetry is untrusted, so it is printed without control characters."""

from tael.cli.tables.cluster import print_cluster, print_cold, print_deletion, print_deletions, print_letter, print_letters, print_retention
from tael.cli.tables.llm import print_calls, print_session, print_sessions, print_tools, print_usage
from tael.cli.tables.telemetry import (
    log_line,
    print_logs,
    print_names,
    print_points,
    print_series,
    print_services,
    print_spans,
    print_trace,
    span_line,
)

__all__ = [
    "log_line",
    "print_calls",
    "print_cluster",
    "print_cold",
    "print_deletion",
    "print_deletions",
    "print_letter",
    "print_letters",
    "print_logs",
    "print_names",
    "print_points",
    "print_retention",
    "print_series",
    "print_services",
    "print_session",
    "print_sessions",
    "print_spans",
    "print_tools",
    "print_trace",
    "print_usage",
    "span_line",
]
