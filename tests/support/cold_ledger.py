"""The ledger of the cold tier's model test: which rows must be readable, which may be, and what an answer may hold. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tael.model.signals import METRICS, TRACES
from tael.storage.erase import Erasure


@dataclass(frozen=True, slots=True)
class Row:
    """A span, log record or sample that was written. ``number`` identifies it in answers, ``hour`` counts the model's hours, ``trace`` is 0
    for none.

    ``said`` is the word by which the payload that it refers to is known; empty if it refers to none.
    """

    signal: str
    tenant: str
    hour: int
    number: int
    trace: int
    received_ns: int
    said: str = ""

    @property
    def trace_id(self) -> bytes:
        """The id of its trace; empty if it is in none."""
        return bytes([self.trace] * 16) if self.trace else b""

    @property
    def user(self) -> str:
        """The user that it names, the same for all items of a trace; empty for samples, and for one in three others."""
        return "" if self.signal == METRICS or self.number % 3 == 0 else user_of(self.trace or self.number)


def content_of(word: str) -> str:
    """The content of the payload that is known by this word."""
    return f"{word} {'and so on ' * 20}"


def user_of(number: int) -> str:
    """One of two users."""
    return f"user-{number % 2}"


@dataclass(slots=True)
class Ledger:
    """``must`` are the rows that have to be readable. ``may`` are those that are being deleted, or that their retention may have removed:
    whether they are readable is open, but not twice. Every other row must not be. ``kept`` are the rows that no finished deletion has
    taken: their payloads may stay.
    """

    must: set[Row] = field(default_factory=set)
    may: set[Row] = field(default_factory=set)
    kept: set[Row] = field(default_factory=set)

    def write(self, rows: Iterable[Row]) -> None:
        """These rows are there from now on."""
        rows = set(rows)
        self.must |= rows
        self.kept |= rows

    def release(self, rows: Iterable[Row]) -> None:
        """These rows may disappear from now on."""
        rows = set(rows)
        self.must -= rows
        self.may |= rows

    def remove(self, rows: Iterable[Row]) -> None:
        """These rows must not be readable from now on."""
        rows = set(rows)
        assert not rows & self.must
        self.may -= rows

    def erase(self, rows: Iterable[Row]) -> None:
        """A deletion of these rows is done."""
        self.remove(rows)
        self.kept -= set(rows)

    def check_words(self, tenant: str, found: set[str]) -> None:
        """Whether the payloads that were found are those that rows refer to, and perhaps those of rows that were not deleted, but are past
        their retention.
        """

        def of(rows: Iterable[Row]) -> set[str]:
            return {row.said for row in rows if row.tenant == tenant and row.said}

        assert (of(self.must) - found, found - of(self.kept)) == (set(), set()), "payloads that are lost, and that should be gone"

    def taken_by(self, what: Erasure) -> set[Row]:
        """The rows that a deletion takes; of a user those of whole traces, if what names the user there is not being removed itself."""
        came = {row for row in (*self.must, *self.may) if row.tenant == what.tenant and row.received_ns <= what.before_ns}
        if what.kind == "tenant":
            return came
        if what.kind == "trace":
            return {row for row in came if row.trace_id.hex() == what.value}
        naming = {row for row in came if row.user == what.value}
        traces = {row.trace for row in naming & self.must if row.signal == TRACES and row.trace}
        return naming | {row for row in came if row.trace in traces}

    def touched_by(self, what: Erasure) -> set[Row]:
        """The rows that a deletion takes, and those that it may take."""
        traces = {row.trace for row in self.may if row.tenant == what.tenant and row.user == what.value and row.trace}
        return self.taken_by(what) | {row for row in self.must if row.tenant == what.tenant and row.trace in traces}

    def check(self, asked: Callable[[Row], bool], found: Counter[int]) -> None:
        """Whether an answer is right: ``found`` counts the numbers in it, ``asked`` says which rows were asked for."""
        must = {row.number for row in self.must if asked(row)}
        may = {row.number for row in self.may if asked(row)}
        twice = {number: times for number, times in found.items() if times > 1}
        lost, gone = must - found.keys(), found.keys() - must - may
        assert (twice, lost, gone) == ({}, set(), set()), "rows that are there twice, that are lost, and that should be gone"

    def check_count(self, asked: Callable[[Row], bool], count: int) -> None:
        """The same for an answer that only counts the rows."""
        must, may = sum(map(asked, self.must)), sum(map(asked, self.may))
        assert must <= count <= must + may, f"{count} rows, not {must} to {must + may}"
