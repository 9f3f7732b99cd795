"""Converts OpenTelemetry's names of metrics, units and attributes to Prometheus' names; pure.

It follows the OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", and where that leaves a choice, Prometheus' own OTLP
receiver, so that dashboards find the same names here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

NameStyle = Literal["underscores", "underscores-without-suffixes", "utf8", "untranslated"]
Kind = Literal["counter", "gauge", "histogram", "summary"]

_UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tebibytes",
    "kBy": "kilobytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
_PER_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_NOT_IN_TOKENS = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_METRICS = re.compile(r"[^a-zA-Z0-9:_]+")
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Names:
    """One style of names.

    ``underscores`` replaces other characters than letters, digits, colons and underscores by ``_``, and appends unit and type; ``utf8``
    only appends them; ``underscores-without-suffixes`` only replaces; ``untranslated`` does neither.
    """

    style: NameStyle = "underscores"

    def metric(self, name: str, unit: str, kind: Kind) -> str:
        """The metric's name; empty if no character of it can be kept."""
        return _metric_name(name, unit, kind, self.style)

    def label(self, name: str) -> str:
        """An attribute's key as a label's name; empty if no character of it can be kept."""
        return name if self.style in ("utf8", "untranslated") else _label_name(name)

    def unit(self, unit: str) -> str:
        """A unit in words, such as ``bytes_per_second``; may be empty."""
        return "_".join(_tokens_of_unit(unit)).strip("_")


@lru_cache(maxsize=16_384)
def _metric_name(name: str, unit: str, kind: Kind, style: NameStyle) -> str:
    if style == "untranslated":
        return name
    if style == "utf8":
        return _with_suffixes(name, unit, kind)
    if style == "underscores-without-suffixes":
        built = "_".join(part for part in _NOT_IN_METRICS.split(name) if part)
    else:
        built = "_".join(_tokens(name, unit, kind))
    if not built.strip("_"):
        return ""
    return f"_{built}" if built[0].isdigit() else built


def _tokens(name: str, unit: str, kind: Kind) -> list[str]:
    tokens = [token for token in _NOT_IN_TOKENS.split(name) if token]
    if not tokens:
        return []
    tokens += [token for token in _tokens_of_unit(unit) if token not in tokens]
    suffix = _suffix_of(kind, unit)
    # A suffix that the name already contains is moved to the end, not repeated.
    return [*(token for token in tokens if token != suffix), suffix] if suffix else tokens


def _suffix_of(kind: Kind, unit: str) -> str:
    if kind == "counter":
        return "total"
    return "ratio" if kind == "gauge" and unit == "1" else ""


def _tokens_of_unit(unit: str) -> list[str]:
    main, per = (_cleaned(part) for part in _unit_words(unit))
    per = per.rstrip("_") if per != "per_" else ""
    return [token for token in (main.rstrip("_"), per) if token]


def _unit_words(unit: str) -> tuple[str, str]:
    """The two sides of a unit (``main/per``) in words; annotations in braces are dropped."""
    main, _, per = (part.strip() for part in unit.partition("/"))
    main = "" if "{" in main or "}" in main else _UNITS.get(main, main)
    per = "" if "{" in per or "}" in per else _PER_UNITS.get(per, per)
    return main, f"per_{per}" if per else ""


def _cleaned(word: str) -> str:
    return re.sub("_+", "_", _NOT_IN_TOKENS.sub("_", word)).lstrip("_")


def _with_suffixes(name: str, unit: str, kind: Kind) -> str:
    suffix = _suffix_of(kind, unit)
    main, per = _unit_words(unit)
    for trailing in (suffix, per):
        if trailing and name.endswith(trailing) and len(name) > len(trailing) + 1:
            name = name[: -len(trailing) - 1]
    if main and not name.endswith(main):
        name = f"{name}_{main}"
    return "_".join(part for part in (name, per, suffix) if part)


@lru_cache(maxsize=65_536)
def _label_name(name: str) -> str:
    built = _NOT_IN_LABELS.sub("_", name)
    if built != name and not built.strip("_"):
        return ""
    if built[:1].isdigit():
        return f"key_{built}"
    # Like Prometheus' receiver: prefix ``key`` to a single leading underscore, but not to two, which mark Prometheus' own labels.
    return f"key{built}" if built.startswith("_") and not built.startswith("__") else built
