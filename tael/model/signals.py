"""The names of signals, as the WAL's subjects and the tables of each room have them."""

from __future__ import annotations

from typing import Final

TRACES, LOGS, METRICS = "traces", "logs", "metrics"
PAYLOADS = "payloads"
"""Large values that spans and log records refer to (tael.model.payload)."""
TOTALS = "totals"
"""What the writer makes of increments: it goes to the hot tier like a signal of its own, and the WAL never holds it."""
REFERRED: Final = frozenset({PAYLOADS})
"""Signals that others refer to: whoever appends or writes both does it with these first."""
