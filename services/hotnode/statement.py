"""Parses a statement just far enough for the HTTP interface to handle it.

This decides three things: where an INSERT's text ends and its rows begin; the format of a result, and where its target can be inserted into
the text; and whether the statement may change anything. Checking the SQL is left to the engine.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from services.hotnode.errors import INTO_OUTFILE_NOT_ALLOWED, SYNTAX_ERROR, UNKNOWN_TYPE_OF_QUERY, failed

REPEATED, REPEATED_BYTES = 256, 8 << 10
"""How many statements are remembered with what was found in their text, and the longest of them: the same ones come again with other
parameters.
"""
_TOKEN: Final = re.compile(
    rb"""(?P<skip>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^'\\]|\\.|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<name>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
    |(?P<word>[A-Za-z_\x80-\xff][\w\x80-\xff$]*)
    |(?P<number>\d[\w.]*)
    |(?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
_READ_VERBS: Final = frozenset({"SELECT", "WITH", "FROM", "(", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "SET", "USE", ""})
_BEFORE_AN_OPERAND: Final = frozenset(
    {"BY", "AS", "AND", "OR", "NOT", "WHERE", "PREWHERE", "HAVING", "SELECT", "ON", "USING", ",", ".", "=", "<", ">"}
)
_RESULT_VERBS: Final = frozenset({"SELECT", "WITH", "FROM", "("})
_PROCESSES: Final = (
    b"(SELECT * REPLACE (if(Settings['log_comment'] = '', query_id, Settings['log_comment']) AS query_id,"
    b" if(Settings['log_comment'] = '', initial_query_id, Settings['log_comment']) AS initial_query_id) FROM system.processes)"
)


@dataclass(frozen=True, slots=True)
class Token:
    """One significant token. ``text`` is upper case for words; ``start`` and ``end`` are offsets in the statement."""

    kind: str
    text: str
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Insert:
    """``INSERT … FORMAT x`` or ``… VALUES`` followed by rows: ``sql`` is the text before FORMAT or VALUES, ``rows_at`` the offset of the
    first row.

    ``settings_at`` is the offset of its SETTINGS clause, the end of ``sql`` if it has none.
    """

    sql: bytes
    input_format: str
    rows_at: int
    settings_at: int

    def from_file(self, path: str) -> bytes:
        """The statement with the rows in the file ``path``."""
        target, settings = self.sql[: self.settings_at], self.sql[self.settings_at :]
        return target + f"\nFROM INFILE '{path}' ".encode() + settings + f"\nFORMAT {self.input_format}".encode()


@dataclass(frozen=True, slots=True)
class InsertFromInput:
    """``INSERT … SELECT … FROM input('structure') FORMAT x`` followed by rows; ``from_file`` replaces ``input`` by a file."""

    sql: bytes
    input_format: str
    rows_at: int
    input_at: int
    input_end: int

    def from_file(self, path: str) -> bytes:
        """The statement with ``path`` as the source of its rows."""
        return self.sql[: self.input_at] + f"file('{path}', '{self.input_format}', ".encode() + self.sql[self.input_end :]


@dataclass(frozen=True, slots=True)
class Select:
    """A statement whose result may be large: ``into`` inserts a target into its text. ``output_format`` is None if it names none."""

    before: bytes
    after: bytes
    output_format: str | None

    def into(self, path: str, default_format: str) -> bytes:
        """The statement with the existing file or pipe ``path`` as the target of its result."""
        tail = self.after or f"FORMAT {default_format}".encode()
        return self.before + f"\nINTO OUTFILE '{path}' APPEND ".encode() + tail


@dataclass(frozen=True, slots=True)
class Other:
    """Any other statement; ``verb`` is its first word in upper case."""

    sql: bytes
    verb: str
    output_format: str | None


Statement: TypeAlias = Insert | InsertFromInput | Select | Other


def tokens(text: bytes) -> Iterator[Token]:
    """The significant tokens, each with its depth of brackets."""
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup if match.lastgroup != "tag" else "string"
        if kind is None or kind == "skip":
            continue
        raw = match.group()
        # Both an opening and a closing bracket have the depth outside of the pair.
        if kind == "sign" and raw in b")]}":
            depth -= 1
        yield Token(kind, raw.decode("utf-8", "replace").upper() if kind == "word" else raw.decode("latin-1"), *match.span(), depth)
        if kind == "sign" and raw in b"([{":
            depth += 1


def comments(text: bytes) -> Iterator[bytes]:
    """The ``/* … */`` comments, including their delimiters."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "skip" and match.group().startswith(b"/*"):
            yield match.group()


def verb_of(text: bytes) -> str:
    """The first word, in upper case; ``(`` for a bracketed SELECT; INSERT even after a leading WITH; empty for an empty statement."""
    reader = tokens(text)
    first = previous = next(reader, None)
    # Only WITH needs to look further: WITH … SELECT reads, WITH … INSERT writes.
    if first is None or previous is None or first.text != "WITH":
        return first.text if first else ""
    for token in reader:
        if token.depth == 0 and (previous.text, token.text) == ("INSERT", "INTO"):
            return "INSERT"
        if token.depth == 0 and token.text == "SELECT" and token.kind == "word":
            break
        previous = token
    return first.text


def changes_something(verb: str) -> bool:
    """Whether a statement that begins with ``verb`` is refused in read-only requests."""
    return verb not in _READ_VERBS


def parse_insert(text: bytes) -> Insert | InsertFromInput | None:
    """Parse an INSERT whose rows follow in the request; None if no rows follow (``INSERT … SELECT``). ``text`` may end within the rows.

    Raises StatementFailed for ``FROM INFILE``, which would read a file of this node.
    """
    reader = _skip_target(tokens(text))
    source: Token | None = None
    settings_at: int | None = None
    previous = Token("sign", "", 0, 0, 0)
    for token in reader:
        if source is not None and previous.text == "INPUT" and token.text == "(":
            return _from_input(text, previous, token, reader)
        if token.kind == "word" and token.depth == 0 and previous.text != ".":
            if token.text == "VALUES" and source is None:
                return Insert(text[: token.start], "Values", token.end, settings_at or token.start)
            # After SELECT, FORMAT is that of a result, and no rows follow.
            if token.text == "FORMAT" and source is None:
                return _before_format(text, token, next(reader, None), settings_at or token.start)
            if token.text == "SETTINGS" and source is None:
                settings_at = token.start
            if token.text == "INFILE" and previous.text == "FROM":
                raise failed(UNKNOWN_TYPE_OF_QUERY, "INSERT … FROM INFILE reads a file beside the client, which HTTP cannot send")
        if token.kind == "word" and token.text in ("SELECT", "WITH") and source is None:
            source = token
        previous = token
    return None


def _skip_target(reader: Iterator[Token]) -> Iterator[Token]:
    """Skip ``INSERT INTO [TABLE] [FUNCTION] name``, so that a table may be called ``format``."""
    next(reader, None)
    for token in reader:
        if token.text not in ("INTO", "TABLE", "FUNCTION"):
            break
    return reader


def _before_format(text: bytes, word: Token, name: Token | None, settings_at: int) -> Insert | None:
    return None if name is None else Insert(text[: word.start], _format_name(text, name), _rows_at(text, name.end), settings_at)


def _from_input(text: bytes, word: Token, bracket: Token, reader: Iterator[Token]) -> InsertFromInput | None:
    for token in reader:
        if token.text == "FORMAT" and token.depth == 0 and token.kind == "word":
            name = next(reader, None)
            if name is None:
                return None
            return InsertFromInput(text[: token.start], _format_name(text, name), _rows_at(text, name.end), word.start, bracket.end)
    return None


def _format_name(text: bytes, name: Token) -> str:
    return text[name.start : name.end].decode("utf-8", "replace").strip('`"')


def _rows_at(text: bytes, end: int) -> int:
    """The offset of the rows: after the format's name, any blanks, and at most one line break."""
    match = re.compile(rb"[ \t\f]*\r?\n?").match(text, end)
    return match.end() if match else end


def parse_query(text: bytes) -> Select | Other:
    """Parse a statement other than an INSERT with rows. Raises StatementFailed for several statements or ``INTO OUTFILE``."""
    return (_known if len(text) <= REPEATED_BYTES else _parse)(text)


def _parse(text: bytes) -> Select | Other:
    found = list(tokens(text))
    while found and found[-1].text == ";":
        found.pop()
    for token, following in itertools.pairwise(found):
        if token.text == ";" and token.depth == 0:
            raise failed(
                SYNTAX_ERROR, f"Syntax error (Multi-statements are not allowed): failed at position {token.start + 1} (end of query)"
            )
        if (token.text, following.text) == ("INTO", "OUTFILE") and token.kind == "word":
            raise failed(INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed")
    end = found[-1].end if found else 0
    verb = verb_of(text)
    word = _format_word(found)
    output_format = _format_name(text, found[word + 1]) if word is not None else None
    if verb == "KILL":
        return Other(_with_our_ids(text[:end], found), verb, output_format)
    if verb not in _RESULT_VERBS:
        return Other(text[:end], verb, output_format)
    cut = found[word].start if word is not None else end
    return Select(_with_our_processes(text[:cut], found), text[cut:end], output_format)


_known = lru_cache(REPEATED)(_parse)


def _format_word(found: list[Token]) -> int | None:
    """The index of the trailing FORMAT clause, which only SETTINGS may follow; None if there is none."""
    for index in range(len(found) - 2, 0, -1):
        token = found[index]
        if token.depth == 0 and token.kind == "word" and token.text == "FORMAT" and found[index + 1].kind in ("word", "name"):
            # In this position FORMAT is a column's name.
            if found[index - 1].text in _BEFORE_AN_OPERAND:
                continue
            after = found[index + 2 :]
            return index if not after or after[0].text == "SETTINGS" else None
    return None


def _with_our_ids(sql: bytes, found: list[Token]) -> bytes:
    """KILL … WHERE query_id = … with the setting that holds the client's id in place of query_id, as the engine generates its own ids."""
    spans = [(t.start, t.end) for t in found if t.text in ("QUERY_ID", "`query_id`", '"query_id"') and t.end <= len(sql)]
    return _replace(sql, spans, b"Settings['log_comment']")


def _with_our_processes(sql: bytes, found: list[Token]) -> bytes:
    """The statement with ``system.processes`` replaced by a subquery that shows the clients' query ids in place of the engine's."""
    triples = zip(found, found[1:], found[2:], strict=False)
    spans = [(a.start, c.end) for a, b, c in triples if (a.text, b.text, c.text) == ("SYSTEM", ".", "PROCESSES") and c.end <= len(sql)]
    return _replace(sql, spans, _PROCESSES)


def _replace(sql: bytes, spans: list[tuple[int, int]], by: bytes) -> bytes:
    # From the end, so that the earlier offsets stay valid.
    for start, end in reversed(spans):
        sql = sql[:start] + by + sql[end:]
    return sql
