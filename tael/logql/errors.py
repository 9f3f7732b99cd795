"""Errors in a LogQL query, in the form that users of Loki know: ``parse error at line 1, col 9: reason``."""

from __future__ import annotations

from tael.errors import Rejected

ERROR = "__error__"
ERROR_DETAILS = "__error_details__"
PRESERVE_ERROR = "__preserve_error__"


class ParseError(Rejected):
    """The text is not valid LogQL. ``line`` and ``column`` count characters from 1; both are 0 where the error has no single position."""

    def __init__(self, problem: str, line: int = 0, column: int = 0) -> None:
        self.problem, self.line, self.column = problem, line, column
        place = f" at line {line}, col {column}" if line else " "
        super().__init__(f"parse error{place}: {problem}")


class PipelineError(Rejected):
    """A line that a metric query counts failed in a stage, and the query does not filter such errors out."""

    def __init__(self, labels: dict[str, str]) -> None:
        kind = labels.get(ERROR, "")
        super().__init__(
            f"pipeline error: '{kind}' for series: '{_shown(labels)}'.\n"
            f'Skip lines with this error by a label filter, for example | __error__!="{kind}", or lines with any error by | __error__="". '
            'The filter may also follow unwrap, as in | unwrap latency | __error__=""'
        )


class SeriesLimit(Rejected):
    """A metric query has more series than one query may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"maximum number of series ({limit}) reached for a single query; select fewer streams, shorten the time range, "
            "or aggregate with sum(), count() or topk()"
        )


class MatchingError(Rejected):
    """The series of a binary operation's sides do not match as the query requires."""


def _shown(labels: dict[str, str]) -> str:
    from tael.syntax.literals import quoted

    return "{" + ", ".join(f"{name}={quoted(labels[name])}" for name in sorted(labels)) + "}"
