"""The names of signals, as used in the WAL's subjects and the storage's tables."""

from __future__ import annotations

from typing import Final

TRACES, LOGS, METRICS = "traces", "logs", "metrics"
PAYLOADS = "payloads"
"""Large values that spans and log records refer to (tael.model.payload)."""
TOTALS = "totals"
"""Running totals that the writer makes of increments; written to the hot tier like a signal, never to the WAL."""
REFERRED: Final = frozenset({PAYLOADS})
"""Signals that others refer to. They are appended and written before the signals that refer to them, so that no reference dangles."""
