"""Predicates as SQL over the tables of spans and logs, pure: values are passed as parameters, never in the text.

tael/model/predicate.py defines their meaning. A map returns the type's default for a missing key, so a leaf that the default would satisfy
also tests for the key; other leaves do not need to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tael.errors import Rejected
from tael.model.escaped import behind_breaks, escapes, with_breaks
from tael.model.patterns import searched, unnamed
from tael.model.payload import HASH_BYTES, PREFIX
from tael.model.predicate import (
    And,
    Compare,
    Contains,
    Exists,
    Field,
    Kind,
    Listed,
    Not,
    Or,
    Predicate,
    Regex,
    Value,
    Words,
    conjuncts,
    kind_of,
    relation,
    service_named,
    words_of,
)
from tael.storage.clickhouse.columns import Column, Names, in_some
from tael.storage.clickhouse.needles import Begun, last_word

_DEFAULTS: Final[dict[Kind, Value]] = {"string": "", "int": 0, "double": 0.0, "bool": False, "bytes": b""}
_TYPES: Final[dict[Kind, str]] = {"string": "String", "int": "Int64", "double": "Float64", "bool": "Bool"}
_NARROW: Final = frozenset(("name", "service", "kind", "status", "duration", "start", "trace_id", "span_id", "parent_span_id"))
_OWN: Final = {"attribute": "attributes", "resource": "resource"}
_NESTED: Final = {"event": "events", "link": "links"}
_LETTERS: Final[dict[Kind, tuple[str, str]]] = {
    "int": ("startsWith({}, 'i')", "toInt64OrZero(substring({}, 2))"),
    "double": ("startsWith({}, 'd')", "toFloat64OrZero(substring({}, 2))"),
    "bool": ("{} IN ('t', 'f')", "({} = 't')"),
    "bytes": ("startsWith({}, 'b')", "base64Decode(substring({}, 2))"),
}
"""For each type, the test that a value in a map of other values has it, and the value (flatten.py)."""
# The most that hasAllTokens accepts.
_TOKENS_AT_ONCE: Final = 64
_INNER_WORD: Final = re.compile(r"(?<=[^A-Za-z0-9\x80-\U0010ffff])[A-Za-z0-9]+(?=[^A-Za-z0-9\x80-\U0010ffff])")


def is_narrow(predicate: Predicate) -> bool:
    """Whether the conditions on spans read no map and no array, so that testing one before the other would not save much."""
    if isinstance(predicate, And | Or):
        return all(map(is_narrow, predicate.parts))
    if isinstance(predicate, Not):
        return is_narrow(predicate.part)
    return (predicate.field.scope == "intrinsic" and predicate.field.key in _NARROW) or bool(service_named(predicate))


def conditions(predicate: Predicate, columns: Mapping[str, Column], parameters: dict[str, Any]) -> list[str]:
    """The conditions that together are equivalent to ``predicate``. ``columns`` are the table's fields; parameters are added to
    ``parameters``.

    Raises Rejected for an intrinsic field that the table does not have.
    """
    compiler = _Compiler(columns, parameters)
    return [compiler.compile(part, conjunct=True) for part in conjuncts(predicate)]


def condition(predicate: Predicate, columns: Mapping[str, Column], parameters: dict[str, Any]) -> str:
    """The predicate as a single condition; see ``conditions``."""
    return _Compiler(columns, parameters).compile(predicate)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A field read as one type: its value, the condition that it is present (empty: always), and the value that is read if it is absent
    (None: any).

    ``over`` is an array whose elements ``x`` are the values, or are what ``value`` reads; ``when`` is a condition under which it is
    searched.
    """

    value: str
    present: str = ""
    absent: Value | None = None
    over: str = ""
    when: str = ""
    size: int = 0
    words_index: bool = False
    payloads: Callable[[Sequence[str]], str] | None = None
    payloads_indexed: bool = True
    names: Names | None = None
    begun: Begun | None = None
    json: bool = False


class _Compiler:
    def __init__(self, columns: Mapping[str, Column], parameters: dict[str, Any]) -> None:
        self._columns = columns
        self._parameters = parameters
        self._bound: dict[tuple[str, Any], str] = {}
        self._named: set[str] = set()
        self._negated = False

    def compile(self, predicate: Predicate, *, conjunct: bool = False) -> str:
        """The predicate as one condition; ``conjunct`` is whether the whole WHERE requires it."""
        if isinstance(predicate, And):
            return self._joined(predicate.parts, "AND", "true")
        if isinstance(predicate, Or):
            return self._any_key(predicate.parts) or self._joined(predicate.parts, "OR", "false")
        if isinstance(predicate, Not):
            outside, self._negated = self._negated, True
            text = f"NOT {self.compile(predicate.part)}"
            self._negated = outside
            return text
        if isinstance(predicate, Exists | Listed):
            return self._exists(predicate.field) if isinstance(predicate, Exists) else self._listed(predicate.field)
        return self._compare(predicate) if isinstance(predicate, Compare) else self._of_text(predicate, indexed=conjunct)

    def _joined(self, parts: tuple[Predicate, ...], word: str, empty: str) -> str:
        return f"({f' {word} '.join(self.compile(part) for part in parts)})" if parts else empty

    def _any_key(self, parts: tuple[Predicate, ...]) -> str:
        """Tests for any of several keys of one scope together, with one look at each map's keys instead of one for each key; empty if not
        applicable.
        """
        fields = [part.field for part in parts if isinstance(part, Exists)]
        scopes = {field.scope for field in fields}
        if len(fields) < max(len(parts), 2) or len(scopes) != 1 or not scopes <= {*_OWN, "instrumentation"}:
            return ""
        keys, scope = self._bind("Array(String)", tuple(field.key for field in fields)), scopes.pop()
        owner, kinds = (
            ("scope", ("string", "other")) if scope == "instrumentation" else (_OWN[scope], ("string", "int", "double", "bool", "other"))
        )
        # Most maps are empty, which is cheap to test; hasAny takes twice as long as arrayExists.
        return in_some([f"({owner}_{kind}.size0 > 0 AND arrayExists(x -> x IN {keys}, mapKeys({owner}_{kind})))" for kind in kinds])

    def _compare(self, leaf: Compare) -> str:
        service = service_named(leaf)
        if service and leaf.field.scope == "resource":
            # The column is in the table's key, and is made of the attribute: a map would be read for every row of the service.
            return f"service = {self._bind('String', service)}"
        found = self._leaf(leaf.field, kind_of(leaf.value), lambda reading: self._related(reading, leaf), relation(leaf))
        if leaf.field.scope == "resource" and self._indexed(leaf):
            # A lookup in a map does not use the index of its values' hashes. The hint does, and is not evaluated for rows.
            return f"(indexHint(has(resource_value_hashes, xxHash32({self._bind('String', leaf.value)}))) AND {found})"
        return found

    def _indexed(self, leaf: Compare) -> bool:
        """Whether the index of resources' values applies to the leaf; only the table of spans has that index."""
        # Under NOT the wanted rows are those without the value, which the hint would exclude.
        return "duration" in self._columns and leaf.op == "=" and isinstance(leaf.value, str) and bool(leaf.value) and not self._negated

    def _related(self, reading: _Reading, leaf: Compare) -> str:
        if not isinstance(leaf.value, bytes):
            return f"{reading.value} {leaf.op} {self._bind(_TYPES[kind_of(leaf.value)], leaf.value)}"
        if leaf.op not in ("=", "!="):
            return f"hex({reading.value}) {leaf.op} {self._bind('String', leaf.value.hex().upper())}"
        # An id of another length equals no stored id; toFixedString would raise for a longer one and pad a shorter one with zeros.
        if reading.size and len(leaf.value) != reading.size:
            return "false" if leaf.op == "=" else "true"
        literal = f"unhex({self._bind('String', leaf.value.hex())})"
        return f"{reading.value} {leaf.op} {f'toFixedString({literal}, {reading.size})' if reading.size else literal}"

    def _of_text(self, leaf: Regex | Words | Contains, *, indexed: bool) -> str:
        if isinstance(leaf, Regex):
            search = searched(leaf.pattern).search
            return self._leaf(
                leaf.field,
                "string",
                # Without (?-s:), the dot of ClickHouse's match() also matches newlines; it finds nothing where a group's name has a _.
                lambda r: f"match({r.value}, {self._bind('String', f'(?-s:{unnamed(leaf.pattern)})')})",
                lambda text: search(text) is not None,
            )
        if isinstance(leaf, Words):
            return self._leaf(
                leaf.field,
                "string",
                lambda r: _or_referred(
                    r, lambda one, by_index: self._say_words(one, leaf.words, indexed=by_index), leaf.words, indexed=indexed
                ),
                lambda text: set(leaf.words).issubset(words_of(text)),
            )
        return self._leaf(
            leaf.field,
            "string",
            lambda r: _or_referred(r, lambda one, by_index: [self._contains(one, leaf, indexed=by_index)], (), indexed=indexed),
            lambda text: leaf.text.lower() in text.lower() if leaf.ignore_case else leaf.text in text,
        )

    def _say_words(self, reading: _Reading, words: tuple[str, ...], *, indexed: bool) -> list[str]:
        """Alternatives that together mean that a text has all words; those of JSON also behind an escaped line break."""
        plain = self._has_words(reading, words, indexed=indexed)
        if not reading.json or not words:
            return [plain]
        # Apart from the plain words, which the index finds by itself: here contents are read, and those of common words would be many.
        every = tuple(each for word in words for each in behind_breaks(word))
        return [
            plain,
            _all([self._has_any(reading, every, indexed=indexed), *(self._says_word(reading, word, indexed=indexed) for word in words)]),
        ]

    def _says_word(self, reading: _Reading, word: str, *, indexed: bool) -> str:
        behind = self._has_any(reading, behind_breaks(word), indexed=indexed)
        broken = f"multiSearchAnyCaseInsensitive({reading.value}, {self._bind('Array(String)', with_breaks(word))})"
        return f"({self._has_words(reading, (word,), indexed=indexed)} OR ({behind} AND {broken}))"

    def _has_any(self, reading: _Reading, words: tuple[str, ...], *, indexed: bool) -> str:
        text = reading.value if reading.words_index and indexed else f"lower({reading.value})"
        chunks = [words[start : start + _TOKENS_AT_ONCE] for start in range(0, len(words), _TOKENS_AT_ONCE)]
        return _any([f"hasAnyTokens({text}, {self._bind('Array(String)', chunk)})" for chunk in chunks])

    def _has_words(self, reading: _Reading, words: tuple[str, ...], *, indexed: bool) -> str:
        if not words:
            return "true"
        # The index has words in lower case, and ClickHouse uses it for a conjunct; elsewhere it may search the text itself, which is in any
        # case.
        text = reading.value if reading.words_index and indexed else f"lower({reading.value})"
        chunks = [words[start : start + _TOKENS_AT_ONCE] for start in range(0, len(words), _TOKENS_AT_ONCE)]
        return _all([f"hasAllTokens({text}, {self._bind('Array(String)', chunk)})" for chunk in chunks])

    def _contains(self, reading: _Reading, leaf: Contains, *, indexed: bool) -> str:
        function = "positionCaseInsensitiveUTF8" if leaf.ignore_case else "position"
        found = f"{function}({reading.value}, {self._bind('String', leaf.text)}) > 0"
        if reading.json and leaf.ignore_case and (escaped := escapes(leaf.text)):
            return f"({found} OR multiSearchAnyCaseInsensitive({reading.value}, {self._bind('Array(String)', escaped)}))"
        if not reading.words_index or self._negated:
            return found
        # Only words with a boundary on both sides within the searched text are certain to be whole words, and so in the index.
        inner = tuple(sorted({word.lower() for word in _INNER_WORD.findall(leaf.text)}))[:_TOKENS_AT_ONCE]
        tests = [self._has_words(reading, inner, indexed=True)] if inner else []
        word = last_word(leaf)
        if reading.begun and word in reading.begun.words:
            tests.append(f"hasAnyTokens({reading.value}, {reading.begun.tokens(self._bind('String', word))})")
        # Within OR, a hint chooses granules and is not evaluated for rows.
        return _all([*(tests if indexed or not tests else [f"indexHint({_all(tests)})"]), found])

    def _leaf(self, field: Field, kind: Kind, test: Callable[[_Reading], str], holds: Callable[[Any], bool]) -> str:
        """``test`` applied to the field read as ``kind``; ``holds`` tells whether a given value satisfies the leaf."""
        if field.scope == "any":
            # An attribute of the item hides the resource's of the same name, even if its type is another one and the leaf cannot hold for
            # it.
            own, resource = (self._leaf(Field(scope, field.key), kind, test, holds) for scope in ("attribute", "resource"))
            return f"({own} OR ({resource} AND NOT {self._exists(Field('attribute', field.key))}))"
        reading = self._reading(field, kind)
        if reading is None:
            return "false"
        text = test(reading)
        if reading.names:
            return reading.names.leaf(holds, text)
        # Where an absent value reads as one that fails the leaf, the test of presence would add nothing.
        if reading.present and (reading.absent is None or holds(reading.absent)):
            text = f"({reading.present} AND {text})"
        text = f"arrayExists(x -> {text}, {reading.over})" if reading.over else text
        return f"({reading.when} AND {text})" if reading.when else text

    def _reading(self, field: Field, kind: Kind) -> _Reading | None:
        """How to read the field as ``kind``; None if the field never has a value of this type."""
        if field.scope == "intrinsic":
            return self._intrinsic(field.key, kind)
        key = self._bind("String", field.key)
        if field.scope in _OWN:
            if kind == "bytes":
                return _other(f"{_OWN[field.scope]}_other[{key}]", kind)
            column = f"{_OWN[field.scope]}_{kind}"
            return _Reading(f"{column}[{key}]", f"mapContains({column}, {key})", _DEFAULTS[kind])
        if field.scope == "instrumentation":
            return _of_two("scope_", "", key, kind)
        return _of_two(f"{_NESTED[field.scope]}.attributes_", "x", key, kind)

    def _intrinsic(self, name: str, kind: Kind) -> _Reading | None:
        column = self._column(name)
        if column.kind != kind:
            return None
        if column.many:
            return _Reading(
                "x",
                over=self._value(column),
                when=column.present,
                payloads=column.payloads,
                payloads_indexed=column.payloads_indexed,
                json=column.json,
            )
        return _Reading(
            column.value,
            column.present,
            column.absent,
            size=column.size,
            words_index=column.words_index,
            names=column.names,
            begun=column.begun,
        )

    def _value(self, column: Column) -> str:
        # An alias may be defined only once in a statement, and may be used anywhere in it.
        if not column.named or column.named in self._named:
            return column.named or column.value
        self._named.add(column.named)
        return f"({column.value} AS {column.named})"

    def _exists(self, field: Field) -> str:
        key = field.key
        if field.scope == "any":
            return f"({self._exists(Field('attribute', key))} OR {self._exists(Field('resource', key))})"
        if field.scope == "intrinsic":
            column = self._column(key)
            texts = [text for text in (column.present, f"notEmpty({self._value(column)})" if column.many else "") if text]
            return _all(texts) if texts else "true"
        bound = self._bind("String", key)
        if field.scope in _OWN:
            return in_some([f"mapContains({_OWN[field.scope]}_{name}, {bound})" for name in ("string", "int", "double", "bool", "other")])
        if field.scope == "instrumentation":
            return in_some([f"mapContains(scope_{name}, {bound})" for name in ("string", "other")])
        maps = [f"{_NESTED[field.scope]}.attributes_{name}" for name in ("string", "other")]
        return in_some([f"arrayExists(x -> mapContains(x, {bound}), {column})" for column in maps])

    def _listed(self, field: Field) -> str:
        if field.scope == "any":
            own, resource = (self._listed(Field(scope, field.key)) for scope in ("attribute", "resource"))
            return f"({own} OR ({resource} AND NOT {self._exists(Field('attribute', field.key))}))"
        if field.scope == "intrinsic":
            return "false"
        bound = self._bind("String", field.key)
        if field.scope in _NESTED:
            return f"arrayExists(x -> startsWith(x[{bound}], 'a'), {_NESTED[field.scope]}.attributes_other)"
        column = f"{_OWN[field.scope]}_other" if field.scope in _OWN else "scope_other"
        return f"startsWith({column}[{bound}], 'a')"

    def _column(self, name: str) -> Column:
        if name not in self._columns:
            raise Rejected(f"{name!r} is not a field of these items", where="field", accepted=", ".join(sorted(self._columns)))
        return self._columns[name]

    def _bind(self, column_type: str, value: Any) -> str:
        """The placeholder of a parameter with this value; equal values share one."""
        known = (column_type, repr(value))
        if known not in self._bound:
            name = f"p{len(self._parameters)}"
            self._parameters[name] = list(value) if isinstance(value, tuple) else value
            self._bound[known] = f"{{{name}:{column_type}}}"
        return self._bound[known]


def _other(text: str, kind: Kind) -> _Reading:
    present, value = _LETTERS[kind]
    return _Reading(value.format(text), present.format(text))


def _or_referred(reading: _Reading, test: Callable[[_Reading, bool], list[str]], words: Sequence[str], *, indexed: bool) -> str:
    """The alternatives of ``test``, which require ``words``, applied to the value or, if that is a reference, to the payload that it refers
    to.
    """
    found = _any(test(reading, indexed))
    if reading.payloads is None:
        return found
    # Exactly one of the two is tested, and never the text of the reference itself.
    # The subquery searches contents once, by their text index, before any span is read.
    start, size = len(PREFIX) + 1, 2 * HASH_BYTES
    # By the index each alternative is looked up by itself; where contents are read, they are read once.
    each = test(_Reading("content", words_index=reading.payloads_indexed, json=reading.json), True)
    each = each if reading.payloads_indexed else [_any(each)]
    referred = " UNION ALL ".join(f"{reading.payloads(words)} AND {one}" for one in each)
    return f"if(startsWith({reading.value}, '{PREFIX}'), substring({reading.value}, {start}, {size}) IN ({referred}), {found})"


def _of_two(columns: str, variable: str, key: str, kind: Kind) -> _Reading:
    """The value of a key in two maps, of strings and of other values. If the columns are arrays of maps, ``variable`` names an element."""
    column = f"{columns}{'string' if kind == 'string' else 'other'}"
    held, over = (variable, column) if variable else (column, "")
    if kind == "string":
        return _Reading(f"{held}[{key}]", f"mapContains({held}, {key})", "", over)
    other = _other(f"{held}[{key}]", kind)
    return _Reading(other.value, other.present, None, over)


def _any(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else in_some(texts)


def _all(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"({' AND '.join(texts)})"
