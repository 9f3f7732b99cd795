"""The names of signals, as the WAL's subjects and the tables of each room have them."""

from __future__ import annotations

TRACES, LOGS, METRICS = "traces", "logs", "metrics"
TOTALS = "totals"
"""What the writer makes of increments: it goes to the hot tier like a signal of its own, and the WAL never holds it."""
