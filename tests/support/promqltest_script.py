"""Reads scripts in Prometheus' language for tests of PromQL: ``load``, ``clear`` and ``eval`` with what is expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tael.model.series import METRIC_NAME, STALE, Labels, Samples, labels_of
from tael.promql.selector import label_matchers
from tael.promql.tokens import Tokens
from tael.syntax.literals import duration_ms, unquoted
from tael.vectors.histograms import from_classic as histogram_classic
from tael.vectors.histograms import text as histogram_text
from tael.vectors.values import Steps
from tests.support.series import Sample, samples_of

_EVAL = re.compile(r"eval(?:_(fail|warn|info|ordered))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)")
_RANGE = re.compile(r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)")
_LOAD = re.compile(r"load(?:_(with_nhcb))?\s+(\S+)")
_EXPECT = re.compile(r"expect\s+(fail|warn|no_warn|info|no_info|ordered)(?:\s+(msg|regex):\s*(.*))?")
_EXPECT_RANGE = re.compile(r"expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)")
_EXPECT_STRING = re.compile(r"expect\s+string\s+(.+)")
_EXPECT_FAIL = re.compile(r"expected_fail_(message|regexp)\s+(.+)")
_NUMBER = r"(?:inf|nan|\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)"
_ITEM = re.compile(
    r"(?P<histogram>\{\{.*?\}\})(?:(?P<sign>[+-])(?P<more>\{\{.*?\}\}))?(?:x(?P<many>\d+))?(?=\s|$)"
    r"|(?P<gap>_|stale)(?:x(?P<gaps>\d+))?(?=\s|$)"
    rf"|(?P<first>[+-]?{_NUMBER})(?P<step>[+-]{_NUMBER})?(?:x(?P<times>\d+))?(?=\s|$)",
    re.IGNORECASE,
)
_PLACE = re.compile(r" \(\d+:\d+\)$")


class ScriptError(Exception):
    """The script is malformed."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One ``expect`` line: its kind, and the text or pattern to match."""

    kind: str
    text: str | None = None
    pattern: bool = False

    def met_by(self, message: str) -> bool:
        """Whether an annotation or an error meets the expectation."""
        if self.text is None:
            return True
        if self.pattern:
            return re.search(self.text, message) is not None
        return self.text.strip() in (message, _PLACE.sub("", message))


@dataclass(slots=True)
class Load:
    """Series to write."""

    series: list[tuple[Labels, list[tuple[int, Sample]]]]
    with_nhcb: bool


@dataclass(frozen=True, slots=True)
class Clear:
    """Delete all series."""


@dataclass(slots=True)
class Eval:
    """One query and its expected result."""

    line: int
    query: str
    steps: Steps
    expectations: list[Expectation] = field(default_factory=list)
    series: list[tuple[Labels, list[Sample | None], bool]] = field(default_factory=list)
    """Labels, samples, and whether a histogram's reset hint is expected too."""
    scalar: float | None = None
    string: str | None = None
    grid: Steps | None = None
    """The times of the samples of a range vector."""

    def wants(self, kind: str) -> list[Expectation]:
        """The expectations of one kind."""
        return [expectation for expectation in self.expectations if expectation.kind == kind]


def parse(text: str) -> Iterator[Load | Clear | Eval]:
    """The commands of a script. Raises ScriptError."""
    lines = ["" if line.strip().startswith("#") else line.strip() for line in text.split("\n")]
    at = 0
    while at < len(lines):
        head, begin = lines[at], at + 1
        at += 1
        if not head:
            continue
        if head == "clear":
            yield Clear()
            continue
        body: list[str] = []
        while at < len(lines) and lines[at]:
            body.append(lines[at])
            at += 1
        if match := _LOAD.fullmatch(head):
            yield _load(_ms(match[2]), body, with_nhcb=match[1] is not None)
        elif head.startswith("eval"):
            yield _eval(begin, head, body)
        else:
            raise ScriptError(f"line {begin}: {head!r} is no command")


def _load(step_ms: int, body: list[str], *, with_nhcb: bool) -> Load:
    series = []
    for line in body:
        labels, items = described(line)
        series.append((labels, [(index * step_ms, item) for index, item in enumerate(items) if item is not None]))
    if with_nhcb:
        converted = histogram_classic.converted(samples_of([(labels, samples) for labels, samples in series if samples]))
        series += list(unpacked(converted))
    return Load(series, with_nhcb)


def unpacked(samples: Samples) -> Iterator[tuple[Labels, list[tuple[int, Sample]]]]:
    """Each series with its samples."""
    for position, labels in enumerate(samples.labels):
        rows = range(int(samples.offsets[position]), int(samples.offsets[position + 1]))
        yield labels, [(int(samples.times_ms[row]), _sample(samples, row)) for row in rows]


def _sample(samples: Samples, row: int) -> Sample:
    if samples.histogram is None or samples.histograms is None or samples.histogram[row] < 0:
        return float(samples.values[row])
    return samples.histograms.take(samples.histogram[row : row + 1])


def described(line: str) -> tuple[Labels, list[Sample | None]]:
    """The labels and samples (None for a gap) of ``name{label="value"} 1+2x3 _ {{…}}``. Raises ScriptError."""
    tokens = Tokens(line)
    name = ""
    if not line.startswith("{"):
        name = re.match(r"[^\s{]+", line)[0]  # type: ignore[index]  # a line is not empty
        tokens = Tokens(line[len(name) :])
    rest = line[len(name) :].lstrip()
    labels = {METRIC_NAME: name} if name else {}
    if rest.startswith("{") and not rest.startswith("{{"):
        matchers, _ = label_matchers(tokens)
        labels |= {matcher.name: matcher.value for matcher in matchers}
        rest = line[len(name) + tokens.last_end :]
    return labels_of(labels), list(_items(rest))


def _items(text: str) -> Iterator[Sample | None]:
    at = 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        item = _ITEM.match(text, at)
        if item is None:
            raise ScriptError(f"{text[at:]!r} are no samples")
        yield from _expanded(item)
        at = item.end()


def _expanded(item: re.Match[str]) -> Iterator[Sample | None]:
    if item["gap"]:
        count = int(item["gaps"] or 0) + (item["gap"] == "stale")
        yield from [STALE if item["gap"] == "stale" else None] * max(count, 1)
    elif item["histogram"]:
        first = histogram_text.parse(item["histogram"])
        more = histogram_text.parse(item["more"]) if item["more"] else None
        every = histogram_text.series(first, more, int(item["many"] or 0), subtract=item["sign"] == "-")
        for row in range(len(every)):
            yield every.take(np.array([row]))
    else:
        value, step = float(item["first"]), float(item["step"] or 0)
        for _ in range(int(item["times"] or 0) + 1):
            yield value
            value += step if item["step"] else 0.0


def _eval(line: int, head: str, body: list[str]) -> Eval:
    if match := _RANGE.fullmatch(head):
        start, end, step = (_ms(match[index]) for index in (2, 3, 4))
        command = Eval(line, match[5], Steps(start, end, step))
    elif match := _EVAL.fullmatch(head):
        at = _ms(match[2] or "0")
        command = Eval(line, match[3], Steps(at, at, 0))
    else:
        raise ScriptError(f"line {line}: {head!r} is no evaluation")
    if match[1]:
        command.expectations.append(Expectation(match[1]))
    for text in body:
        _expect(command, text)
    return command


def _expect(command: Eval, text: str) -> None:
    if match := _EXPECT_RANGE.fullmatch(text):
        start, end, step = map(_ms, match.groups())
        command.grid = Steps(start, end, step)
        command.steps = Steps(end, end, 0)
    elif match := _EXPECT_STRING.fullmatch(text):
        command.string = unquoted(match[1])
    elif match := _EXPECT_FAIL.fullmatch(text):
        command.expectations.append(Expectation("fail", match[2], match[1] == "regexp"))
    elif match := _EXPECT.fullmatch(text):
        wanted = match[3]
        if wanted is not None and len(wanted) > 1 and wanted[0] == wanted[-1] and wanted[0] in "\"'`":
            wanted = wanted[1:-1]
        command.expectations.append(Expectation(match[1], wanted, match[2] == "regex"))
    elif re.fullmatch(rf"[+-]?{_NUMBER}", text, re.IGNORECASE):
        command.scalar = float(text)
    else:
        labels, samples = described(text)
        command.series.append((labels, samples, "counter_reset_hint" in text))


def _ms(text: str) -> int:
    return round(float(text) * 1000) if re.fullmatch(r"-?[\d.]+", text) else duration_ms(text)
