"""Which parsed labels a metric query reads: parsers skip the others, and a malformed line fails only if a label that is read is
affected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tael.logql.errors import ERROR

_SUFFIX = "_extracted"


@dataclass(frozen=True, slots=True)
class Hints:
    """``required`` are the only labels to parse, where given; ``nothing`` says to parse none at all."""

    required: frozenset[str] = frozenset()
    nothing: bool = False

    @property
    def preserve_errors(self) -> bool:
        """Whether the query reads ``__error__``, so that errors do not fail it."""
        return ERROR in self.required

    def wants(self, name: str) -> bool:
        """Whether ``name`` is read."""
        return not self.required or name in self.required

    def wants_prefix(self, prefix: str) -> bool:
        """Whether a label with this prefix is read."""
        return not self.required or any(name.startswith(prefix) for name in self.required)

    def satisfied(self, parsed: Mapping[str, object]) -> bool:
        """Whether everything that is read has been parsed."""
        return bool(self.required) and parsed.keys() >= self.required

    def skip(self, parsed: Mapping[str, object]) -> bool:
        """Whether a parser can skip the line."""
        return self.nothing or self.satisfied(parsed)


ALL = Hints()


def hints_for(read: Iterable[str], groups: Collection[str], *, without: bool, single: bool, unwrapped: str = "") -> Hints:
    """The hints of a range aggregation whose stages read the labels ``read``, and whose series are grouped ``by`` or ``without``
    ``groups``.

    ``single`` says that all series become one; ``unwrapped`` is the label that is unwrapped.
    """
    names = {name for name in (*read, *groups, unwrapped) if name}
    # Whether a parser sets the name or the name with the suffix depends on the stream of each line.
    required = frozenset(names | {name.removesuffix(_SUFFIX) for name in names})
    if single:
        return Hints(required) if required else Hints(nothing=True)
    return ALL if without or not groups else Hints(required)
