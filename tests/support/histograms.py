"""Range functions over windows of native histograms, by name."""

from __future__ import annotations

from tael.vectors.histograms import over_time
from tael.vectors.histograms.windows import Evaluated, Windows
from tael.vectors.ranges.functions import FUNCTIONS

OF_HISTOGRAMS = sorted(name for name, function in FUNCTIONS.items() if function.histograms is not None)


def range_function(name: str, windows: Windows) -> Evaluated:
    """The result of the function for windows that each contain a histogram."""
    histograms = FUNCTIONS[name].histograms
    assert histograms is not None
    return over_time.evaluate(histograms, windows)
