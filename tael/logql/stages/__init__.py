"""The stages of a pipeline, one a file: each changes a row in place and returns whether it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tael.logql.row import Row

Run: TypeAlias = Callable[[Row], bool]
"""A compiled stage; returns whether the row is kept."""
