"""The current retention: from the settings and the limits file, which is reloaded when it changes."""

from __future__ import annotations

from functools import partial

from tael.model.retention import Retention
from tael.runtime.settings import LIMITS_FILE, RetentionSettings
from tael.runtime.tenant_limits import parse_retention
from tael.runtime.watched import WatchedFile


class CurrentRetention:
    """The retention of all tenants. Raises BadSettings when the limits file cannot be used at the start."""

    def __init__(self, settings: RetentionSettings) -> None:
        self._everybody = Retention(settings.retention_days)
        parse = partial(parse_retention, everybody=settings.retention_days)
        self._file = WatchedFile(settings.limits_file, parse, LIMITS_FILE) if settings.limits_file else None

    def read(self) -> Retention:
        """The retention that applies now."""
        return self._file.read() if self._file else self._everybody
