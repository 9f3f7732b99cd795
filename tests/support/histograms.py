"""Native histograms as short texts, and range functions over windows of them by name."""

from __future__ import annotations

from tael.model.histogram import Histograms, concatenate
from tael.vectors.histograms import over_time
from tael.vectors.histograms.binary import Combined
from tael.vectors.histograms.text import expressions, parse
from tael.vectors.histograms.windows import Evaluated, Windows
from tael.vectors.ranges.functions import FUNCTIONS

OF_HISTOGRAMS = sorted(name for name, function in FUNCTIONS.items() if function.histograms is not None)


def range_function(name: str, windows: Windows) -> Evaluated:
    """The result of the function for windows that each contain a histogram."""
    histograms = FUNCTIONS[name].histograms
    assert histograms is not None
    return over_time.evaluate(histograms, windows)


def several(*texts: str) -> Histograms:
    """Histograms from the texts between the braces."""
    return concatenate([parse(f"{{{{{text}}}}}") for text in texts])


def shown(histograms: Histograms) -> list[str]:
    """The same texts of histograms."""
    return [text[2:-2] for text in expressions(histograms)]


def result(found: Combined) -> str | float | None:
    """The only row: a float, a histogram as its text, or None where there is none."""
    if not found.keep[0]:
        return None
    cell = int(found.samples.cells[0])
    return shown(found.samples.histograms)[cell] if cell >= 0 else float(found.samples.values[0])
