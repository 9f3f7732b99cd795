"""One line in a pipeline: its text, and its labels by origin.

Parsed labels take precedence over structured metadata, and metadata over the stream's labels. A parser appends ``_extracted`` to a name
that the stream or the metadata already has. A label that was parsed once is not parsed again by a later stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tael.logql.errors import ERROR, ERROR_DETAILS, PRESERVE_ERROR
from tael.logql.hints import ALL, Hints

EXTRACTED = "_extracted"


class Row:
    """A line at ``timestamp_ns``; stages change it in place. ``stream`` is shared by the rows of a stream and MUST NOT be changed."""

    __slots__ = ("deleted", "details", "error", "hints", "line", "metadata", "parsed", "stream", "timestamp_ns")

    def __init__(self, timestamp_ns: int, line: str, stream: Mapping[str, str], metadata: Mapping[str, str], hints: Hints = ALL) -> None:
        self.timestamp_ns, self.line, self.stream, self.hints = timestamp_ns, line, stream, hints
        self.metadata = dict(metadata)
        if not metadata.keys().isdisjoint(stream):
            self.metadata = {name + EXTRACTED if name in stream else name: value for name, value in metadata.items()}
        self.parsed: dict[str, str | None] = {}
        self.deleted: set[str] = set()
        self.error = self.details = ""

    def get(self, name: str) -> str | None:
        """The label's value; None where there is no such label. ``__error__`` does not count as a label here."""
        # No label is in both: set() removes it from the metadata, and parsers avoid names that the metadata has.
        value = self.metadata.get(name)
        if value is not None:
            return value
        value = self.parsed.get(name)
        if value is not None:
            return value
        return None if name in self.deleted else self.stream.get(name)

    def name_for(self, name: str) -> str:
        """The name under which a parser may set ``name``."""
        return name + EXTRACTED if name in self.stream or name in self.metadata else name

    def wanted(self, name: str) -> bool:
        """Whether a parser should set ``name``: it was not parsed before, and the query reads it."""
        return name not in self.parsed and self.hints.wants(name)

    def parse(self, name: str, value: str) -> bool:
        """Set a label that a parser found; returns False when the query needs nothing more."""
        if name in self.stream or name in self.metadata:
            name += EXTRACTED
        required = self.hints.required
        if name in self.parsed or (required and name not in required):
            return True
        self.metadata.pop(name, None)
        self.parsed[name] = value
        return not required or not self.hints.satisfied(self.parsed)

    def set(self, name: str, value: str) -> None:
        """Set a label that the query names, replacing any other."""
        self.metadata.pop(name, None)
        self.parsed[name] = value

    def delete(self, name: str) -> None:
        """Remove a label, whatever its origin."""
        self.metadata.pop(name, None)
        # Kept as None, so that a later parser does not set the label again.
        if name in self.parsed:
            self.parsed[name] = None
        self.deleted.add(name)

    def fail(self, error: str, details: str = "") -> None:
        """Mark the line with a stage's error."""
        self.error = error
        if details:
            self.details = details
        if self.hints.preserve_errors:
            self.set(PRESERVE_ERROR, "true")

    def stream_labels(self) -> dict[str, str]:
        """The stream's labels without those that were deleted or are hidden by metadata or parsed labels."""
        hidden = self.deleted
        return {
            name: value
            for name, value in self.stream.items()
            if name not in hidden and name not in self.metadata and self.parsed.get(name) is None
        }

    def parsed_labels(self) -> dict[str, str]:
        """The labels of parsers and formatters, and the errors."""
        found = {name: value for name, value in self.parsed.items() if value is not None}
        if self.error:
            found[ERROR] = self.error
        if self.details:
            found[ERROR_DETAILS] = self.details
        return found

    def labels(self) -> dict[str, str]:
        """All labels."""
        if not (self.deleted or self.error or self.details) and self.parsed.keys().isdisjoint(self.stream):
            # Where nothing was deleted, no parsed label is None.
            return {**self.stream, **self.metadata, **cast("dict[str, str]", self.parsed)}
        return {**self.stream_labels(), **self.metadata, **self.parsed_labels()}
