"""Formats an answer's numbers for people; pure. NaN and infinities are strings in JSON, and are shown unchanged."""

from __future__ import annotations


def figure(value: float | str | None, form: str = ",") -> str:
    """The number in Python's format ``form``; ``-`` for none."""
    return "-" if value is None else value if isinstance(value, str) else format(value, form)


def usd(cost: float | str | None) -> str:
    """Dollars, with cents from one dollar on and millionths below."""
    if cost is None or isinstance(cost, str):
        return figure(cost)
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:.6f}"


def milliseconds(value: float | str) -> str:
    """A duration in milliseconds formatted in the unit that reads best."""
    if isinstance(value, str):
        return value
    if value >= 60_000:
        return f"{value / 60_000:.1f} min"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.2f} ms" if value >= 1 else f"{value * 1000:.1f} µs"
