"""Whose telemetry a row is: every table's first key."""

from __future__ import annotations

DEFAULT_TENANT = "default"
"""The tenant of a request that names none."""
