"""Numbers of an answer as people read them, pure. JSON has no NaN and no infinities: they are texts there, and are shown as they are."""

from __future__ import annotations


def figure(value: float | str | None, form: str = ",") -> str:
    """The number in Python's format ``form``; ``-`` for none."""
    return "-" if value is None else value if isinstance(value, str) else format(value, form)


def usd(cost: float | str | None) -> str:
    """Dollars: cents from one dollar on, millionths below."""
    if cost is None or isinstance(cost, str):
        return figure(cost)
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${cost:.6f}"


def milliseconds(value: float | str) -> str:
    """A duration in the unit that reads best, with three figures or more."""
    if isinstance(value, str):
        return value
    if value >= 60_000:
        return f"{value / 60_000:.1f} min"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.2f} ms" if value >= 1 else f"{value * 1000:.1f} µs"
