"""The functions of PromQL, one record each: what a function takes and gives, and what it does. A new one is a record in one of the files here."""

from __future__ import annotations

from tael.promql.functions import arithmetic, histograms, info, labels, ranges
from tael.promql.functions.record import Function

FUNCTIONS: dict[str, Function] = {
    function.name: function for family in (arithmetic, histograms, info, labels, ranges) for function in family.FUNCTIONS
}
