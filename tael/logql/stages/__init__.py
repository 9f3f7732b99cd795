"""The stages of a pipeline, one a file: each changes a row in place and says whether it stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tael.logql.row import Row

Run: TypeAlias = Callable[[Row], bool]
"""A compiled stage: whether the row stays."""
