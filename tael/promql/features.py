"""The parts of PromQL that Prometheus calls experimental, pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Features:
    """Which experimental parts of the language are allowed."""

    functions: bool = True
    duration_expressions: bool = True
    extended_ranges: bool = True
    fill: bool = True


ALL = Features()
