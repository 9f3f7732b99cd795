"""``| logfmt``: ``key=value`` and ``key="quoted value"`` as labels. Without ``--strict`` malformed pairs are skipped, with it the line
fails.

``| logfmt name="key"`` takes only the values of these keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tael.logql.ast import LogfmtParser
from tael.logql.row import Row
from tael.logql.stages import Run
from tael.logql.stages.names import label_name
from tael.syntax.literals import unquoted

LOGFMT_ERROR: Final = "LogfmtParserErr"
BROKEN: Final = "\ufffd"
"""Replaces bytes that are not UTF-8."""

_PAIR: Final = re.compile(r'([^\x00-\x20="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\x00-\x20="]*)(?=[\x00-\x20]|$))|(?=[\x00-\x20]|$))', re.DOTALL)
_GAP: Final = re.compile(r"[\x00-\x20]*")
_WORD: Final = re.compile(r"[^\x00-\x20]*")
_KEY: Final = re.compile(r'[^\x00-\x20="]*')
_PATH: Final = re.compile(r'\s*(?:[A-Za-z_][A-Za-z0-9_]*|"[^"]*"?)(?:\s*"[^"]*"?)*\s*')


class LogfmtError(ValueError):
    """A malformed pair and its position; ``resume`` is the offset at which to continue."""

    def __init__(self, line: str, at: int, problem: str, resume: int) -> None:
        self.resume = resume
        super().__init__(f"logfmt syntax error at pos {len(line[:at].encode()) + 1} : {problem}")


def logfmt_parser(stage: LogfmtParser) -> Run:
    """The stage as a function. Raises ValueError for an invalid key."""
    return _extracting(stage) if stage.extractions else _parsing(stage)


def pairs(line: str, *, strict: bool) -> Iterator[tuple[str, str]]:
    """The keys and values of a line. Raises LogfmtError when ``strict``; otherwise malformed pairs are skipped."""
    at, end = 0, len(line)
    while at < end:
        gap = _GAP.match(line, at)
        at = gap.end() if gap else at
        if at == end:
            return
        try:
            key, value, at = _pair(line, at)
        except LogfmtError as problem:
            if strict:
                raise
            at = problem.resume
            continue
        yield key, value


def _pair(line: str, at: int) -> tuple[str, str, int]:
    found = _PAIR.match(line, at)
    if found is None:
        raise _broken(line, at)
    if found[2] is None:
        return found[1], found[3] or "", found.end()
    if "\\" not in found[2]:
        return found[1], found[2], found.end()
    try:
        return found[1], unquoted(f'"{found[2]}"'), found.end()
    except ValueError:
        raise LogfmtError(line, found.end(), "invalid quoted value", found.end()) from None


def _broken(line: str, at: int) -> LogfmtError:
    key = _KEY.match(line, at)
    stop = key.end() if key else at
    if stop == at or line[stop] == '"':
        return _unexpected(line, stop)
    value = stop + 1
    if line[value : value + 1] == '"':
        return LogfmtError(line, len(line), "unterminated quoted value", len(line))
    bare = _KEY.match(line, value)
    return _unexpected(line, bare.end() if bare else value)


def _unexpected(line: str, at: int) -> LogfmtError:
    word = _WORD.match(line, at)
    return LogfmtError(line, at, f"unexpected '{line[at]}'", word.end() if word else len(line))


def _parsing(stage: LogfmtParser) -> Run:
    def run(row: Row) -> bool:
        if row.hints.skip(row.parsed):
            return True
        try:
            for key, value in pairs(row.line, strict=stage.strict):
                # A key that is not UTF-8 is ignored.
                name = "" if BROKEN in key else label_name(key)
                if name and (value or stage.keep_empty) and not row.parse(name, _clean(value)):
                    break
        except LogfmtError as problem:
            row.fail(LOGFMT_ERROR, str(problem))
        return True

    return run


def _clean(value: str) -> str:
    return value.replace(BROKEN, " ")


def _extracting(stage: LogfmtParser) -> Run:
    labels = {logfmt_key(extraction.expression): extraction.label for extraction in stage.extractions}
    names = [extraction.label for extraction in stage.extractions]

    def run(row: Row) -> bool:
        if row.hints.skip(row.parsed):
            return True
        for name in names:
            # A requested label exists on every line, empty where the line does not have it.
            if row.name_for(name) == name:
                row.set(name, "")
        try:
            for key, value in pairs(row.line, strict=stage.strict):
                name = labels.get(label_name(key), "")
                if name and not _set(row, name, value):
                    break
        except LogfmtError as problem:
            row.fail(LOGFMT_ERROR, str(problem))
        return True

    return run


def _set(row: Row, name: str, value: str) -> bool:
    free = row.name_for(name)
    if free != name and not row.wanted(free):
        return False
    row.set(free, "" if BROKEN in value else value)
    return not row.hints.satisfied(row.parsed)


def logfmt_key(expression: str) -> str:
    """The key that an expression names. Raises ValueError."""
    if not _PATH.fullmatch(expression):
        raise ValueError(f"cannot parse expression [{expression}]: {_problem(expression)}")
    return "".join(part.strip('"') for part in re.findall(r'"[^"]*"?|[A-Za-z_]\w*', expression))


def _problem(expression: str) -> str:
    rest = expression.strip()
    if not rest:
        return "syntax error: unexpected $end, expecting STRING or KEY"
    bad = next((character for character in rest if not (character.isalnum() or character in ' _"')), rest[0])
    return f"unexpected char {bad}"
