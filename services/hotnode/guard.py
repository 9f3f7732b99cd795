"""Refuses statements that reach beyond the engine's own tables: to files, programs, other servers, or S3 outside the configured bucket.

The embedded engine lets its user do whatever the process may do, and has no access control, so the rules are applied to the statement's
text. They list what is allowed; anything else is refused, including functions that a later version adds. Text that the engine's lexer might
read differently from ``statement.tokens`` is refused altogether: nothing can hide in what only looks like a string or a comment.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.hotnode.errors import ACCESS_DENIED, BAD_ARGUMENTS, SYNTAX_ERROR, StatementFailed, failed
from services.hotnode.statement import REPEATED, REPEATED_BYTES, Token, comments, tokens

_TABLE_FUNCTIONS: Final = frozenset(
    "dictionary format generateSeries generate_series generateRandom input merge mergeTreeAnalyzeIndexes mergeTreeIndex"
    " mergeTreeProjection mergeTreeTextIndex null numbers numbers_mt primes values view viewExplain viewIfPermitted zeros zeros_mt".lower().split()
)
_S3: Final = "s3"
_MORE_FUNCTIONS: Final = frozenset({"file", "disk", "catboostevaluate"})
_TABLE_ENGINES: Final = re.compile(
    r"(\w*MergeTree|Memory|Null|Log|TinyLog|StripeLog|Set|Join|Buffer|Merge|View|MaterializedView|Atomic)", re.IGNORECASE
)
_VERBS: Final = frozenset({"ATTACH", "BACKUP", "GRANT", "RESTORE", "REVOKE"})
_OBJECTS: Final = frozenset({"COLLECTION", "DICTIONARY", "FUNCTION", "RESOURCE", "ROLE", "USER", "WORKLOAD"})
_SETTINGS: Final = frozenset(
    {"additional_result_filter", "additional_table_filters", "format_template_resultset", "format_template_row", "output_format_schema"}
    | {"input_format_values_deduce_templates_of_expressions", "input_format_values_interpret_expressions", "parallel_replicas_custom_key"}
)
_SCHEMA_SETTINGS: Final = frozenset({"format_schema", "format_schema_source"})
_BEFORE_A_TABLE: Final = frozenset({".", "AS", "DESC", "DESCRIBE", "EXISTS", "FROM", "INTO", "JOIN", "TABLE"})
_ENDS_TABLES: Final = frozenset(
    {"FORMAT", "GROUP", "HAVING", "LIMIT", "ON", "ORDER", "PREWHERE", "QUALIFY", "SELECT", "SETTINGS", "UNION", "USING", "VALUES", "WHERE"}
    | {"WINDOW", "WITH"}
)
_IDENTIFIER: Final = re.compile(r"[\w.]+")
# A parent directory (two dots between digits are a glob's range), an escape in a string or URL, or a user in the URL.
_NOT_IN_A_KEY: Final = re.compile(r"(?<!\d)\.\.|\.\.(?!\d)|\\|%|''|@")
_NAME: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Rules:
    """What statements must not use: function and engine names, in lower case. ``s3_prefix`` is the common prefix of the bucket's URLs."""

    functions: frozenset[str]
    engines: frozenset[str]
    s3_prefix: str = ""


def rules_for(table_functions: Iterable[str], engines: Iterable[str], s3_prefix: str) -> Rules:
    """The rules for an engine with these table functions and engines. An empty ``s3_prefix`` refuses all use of S3."""
    allowed = _TABLE_FUNCTIONS | ({_S3} if s3_prefix else frozenset())
    return Rules(
        frozenset(name.lower() for name in table_functions) - allowed | _MORE_FUNCTIONS,
        frozenset(name.lower() for name in engines if not _TABLE_ENGINES.fullmatch(name)),
        s3_prefix,
    )


def check_settings(settings: Mapping[str, str]) -> None:
    """Refuse settings of a request that contain SQL or name files. Raises StatementFailed."""
    for name in settings:
        if name.lower() in _SETTINGS:
            raise _denied(f"the setting {name}")
    if settings.get("format_schema") and settings.get("format_schema_source") != "string":
        raise _denied("a format_schema from a file (send it with format_schema_source=string)")


def check_name(what: str, name: str) -> None:
    """Refuse a name with special characters where it is inserted unquoted into a statement. Raises StatementFailed."""
    if not _NAME.fullmatch(name):
        raise failed(BAD_ARGUMENTS, f"the {what} '{name}' is not a plain name")


def check_statement(text: bytes, params: Mapping[str, str], rules: Rules) -> None:
    """Refuse a statement that ``rules`` do not allow. ``params`` fill its placeholders. Raises StatementFailed 497 or 62."""
    for name in (_known if len(text) <= REPEATED_BYTES else _check_text)(text, rules):
        value = next((v for key, v in params.items() if key.upper() == name), "")
        if not _IDENTIFIER.fullmatch(value):
            raise _denied(f"the identifier '{value}'")


def _check_text(text: bytes, rules: Rules) -> tuple[str, ...]:
    """Refuse a statement whatever its parameters; return the placeholders whose values are names, which have to be checked for each
    request.
    """
    found = list(tokens(text))
    _check_lexing(text, found)
    _check_verbs(found)
    for index, token in enumerate(found):
        if token.kind in ("word", "name"):
            _check_word(found, index, token, rules)
    _check_tables(found)
    return tuple(
        name.text for name, colon, kind in zip(found, found[1:], found[2:], strict=False) if (colon.text, kind.text) == (":", "IDENTIFIER")
    )


_known = lru_cache(REPEATED)(_check_text)


def _check_lexing(text: bytes, found: Sequence[Token]) -> None:
    """Refuse what the engine's lexer knows but ``tokens`` does not: // comments, nested comments, typographic quotes, heredocs with odd
    tags.
    """
    if any(b"/*" in comment[2:] for comment in comments(text)):
        raise _unclear("a comment in a comment")
    for token in found:
        if token.kind == "word" and not token.text.isascii():
            raise _unclear("a character that is not ASCII outside of quotes")
        if token.kind == "sign" and (token.text in "'\"`$\\" or not " " < token.text < "\x7f"):
            raise _unclear(f"an unexpected {token.text!r}")
        if token.text == "/" and text[token.end : token.end + 1] in (b"/", b"*"):
            raise _unclear("a comment of two slashes, or one that does not end")


def _check_verbs(found: Sequence[Token]) -> None:
    words = [token.text for token in found if token.kind == "word"]
    verb = found[0].text if found else ""
    if verb in _VERBS:
        raise _denied(verb)
    # As in CREATE OR REPLACE TEMPORARY FUNCTION, at most three words stand between the verb and the kind of object.
    if verb in ("CREATE", "REPLACE", "ALTER", "DROP") and (kind := _OBJECTS.intersection(words[1:5])):
        raise _denied(f"{verb} {min(kind)}")
    for first, second in itertools.pairwise(words):
        if (first, second) in (("PARALLEL", "WITH"), ("FROM", "INFILE"), ("INTO", "OUTFILE")):
            raise _denied(f"{first} {second}")


def _check_word(found: Sequence[Token], index: int, token: Token, rules: Rules) -> None:
    name = _plain(token)
    following = found[index + 1].text if index + 1 < len(found) else ""
    if following == "(":
        if "\\" in name:
            raise _unclear("a function's name with an escape")
        if name in rules.functions:
            raise _denied(f"the function {name}")
        if name == _S3:
            _check_s3(found[index + 2 : index + 4], rules.s3_prefix)
    if name in _SETTINGS or name in _SCHEMA_SETTINGS:
        # the token is a word or a quoted name here, so this is the setting's own name and not a string value
        raise _denied(f"the setting {name}")
    if token.text == "ENGINE" and token.kind == "word":
        named = next((other for other in found[index + 1 : index + 3] if other.text != "="), None)
        if named is not None and named.kind in ("word", "name") and _plain(named) in rules.engines:
            raise _denied(f"the engine {_plain(named)}")


def _check_s3(arguments: Sequence[Token], prefix: str) -> None:
    """Require that the first argument is a plain string with a URL in the bucket: an expression or named collection could be anything."""
    url = arguments[0].text[1:-1] if arguments and arguments[0].kind == "string" and arguments[0].text.startswith("'") else ""
    whole = len(arguments) > 1 and arguments[1].text in (",", ")")
    if not whole or not url.startswith(prefix) or _NOT_IN_A_KEY.search(url):
        raise _denied(f"S3 outside {prefix}")


def _check_tables(found: Sequence[Token]) -> None:
    """Refuse tables named by a path, in quotes of any kind: the engine would read that file."""
    tables_at: set[int] = set()
    previous = Token("sign", "", 0, 0, 0)
    for token in found:
        is_path = "/" in token.text or "\\" in token.text
        if token.kind == "name" and is_path:
            raise _denied(f"the name {token.text}")
        in_list = previous.text in ("(", ",") and token.depth in tables_at
        if token.kind == "string" and is_path and (in_list or previous.text in _BEFORE_A_TABLE):
            raise _denied(f"the table {token.text}")
        if token.kind == "word" and token.text in ("FROM", "JOIN"):
            tables_at.add(token.depth)
        elif token.kind == "word" and token.text in _ENDS_TABLES:
            tables_at.discard(token.depth)
        elif token.text == "(" and token.kind == "sign":
            tables_at.discard(token.depth + 1)
            if previous.text in ("FROM", "JOIN") or in_list:
                tables_at.add(token.depth + 1)
        previous = token


def _plain(token: Token) -> str:
    return (token.text[1:-1] if token.kind == "name" else token.text).lower()


def _denied(what: str) -> StatementFailed:
    return failed(ACCESS_DENIED, f"default: Not enough privileges. This node does not allow {what}")


def _unclear(what: str) -> StatementFailed:
    return failed(SYNTAX_ERROR, f"Syntax error: this node does not take {what}")
