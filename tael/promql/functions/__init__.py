"""The functions of PromQL, one record each: signature and implementation. A new function is a record in one of these files."""

from __future__ import annotations

from tael.promql.functions import arithmetic, histograms, info, labels, ranges
from tael.promql.functions.record import Function

FUNCTIONS: dict[str, Function] = {
    function.name: function for family in (arithmetic, histograms, info, labels, ranges) for function in family.FUNCTIONS
}
