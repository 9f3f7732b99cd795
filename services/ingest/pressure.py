"""When ingest stops taking requests so that nothing breaks behind it, why, and when it goes on. Pure: what is seen and the time come in.

Three causes: a WAL that is nearly full, a WAL whose writer is far behind (the hot tier is away, or merges too slowly and says
TOO_MANY_PARTS), a disk that is nearly full. Each closes at one mark and opens at another that is clearly on the good side, so that it
does not flap; nobody has to do anything for it to open but cure the cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from tael.cluster.lag import Ages
from tael.runtime.config import Bytes, CommaList, Settings

WAL, LAG, DISK = "wal", "lag", "disk"
CAUSES: Final = (WAL, LAG, DISK)


class PressureSettings(Settings):
    """When ingest refuses everything, retryably, until the cause is gone."""

    wal_high_water: float = Field(
        default=0.9,
        gt=0,
        le=1,
        alias="TAEL_WAL_HIGH_WATER",
        description="Fraction of TAEL_WAL_MAX_BYTES above which writes are refused, until the shard's WAL is a tenth emptier than that.",
    )
    max_lag_seconds: float = Field(
        default=3600,
        ge=1,
        alias="TAEL_MAX_LAG_SECS",
        description="Age of the oldest WAL entry not yet in the hot tier above which writes are refused, until it is half as old.",
    )
    max_lag_bytes: Bytes = Field(
        default=0,
        ge=0,
        alias="TAEL_MAX_LAG_BYTES",
        description="The same for the bytes of one shard's WAL not yet in the hot tier; 0 disables this check.",
    )
    min_free_bytes: Bytes = Field(
        default="1GiB",  # type: ignore[assignment]  # parsed by the validator
        ge=0,
        alias="TAEL_MIN_FREE_BYTES",
        description="Free space of a watched disk below which writes are refused, until a quarter more is free.",
    )
    watched_dirs: CommaList = Field(
        default=(),
        alias="TAEL_WATCHED_DIRS",
        description="Directories whose free disk space is watched: those of the WAL and the hot tier, if they are on this machine. `tael serve` watches its data directory.",
    )


@dataclass(frozen=True, slots=True)
class WalView:
    """A shard's WAL as it is now: sequences, sizes, and how far the hot tier has it."""

    first: int
    last: int
    size_bytes: int
    max_bytes: int
    committed: int

    @property
    def waiting_entries(self) -> int:
        """Entries that are not in the hot tier yet."""
        return max(0, self.last - self.committed)

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes these are: entries are taken to be alike."""
        held = self.last - self.first + 1
        # The stream knows its total size alone, and committed entries are trimmed within seconds: the mean is near enough for a gate.
        return self.size_bytes * min(held, self.waiting_entries) // held if held > 0 else 0


class Pressure:
    """Fed with what is seen every second or so; ``reasons`` says why nothing is taken, and is empty when everything is well."""

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._ages: dict[int, Ages] = {}
        self._closed: dict[tuple[str, str], str] = {}
        self.lag_seconds: dict[int, float] = {}

    @property
    def reasons(self) -> list[str]:
        """One line a cause, that a client's operator can act on."""
        return list(self._closed.values())

    def closed(self, cause: str) -> bool:
        """Whether this cause holds requests off now."""
        return any(key[0] == cause for key in self._closed)

    def observe(self, wals: Mapping[int, WalView], free_bytes: Mapping[str, int], now: float) -> None:
        """Decide anew. ``now`` is monotonic seconds; a shard or directory that is not there keeps what was last decided of it."""
        for shard, view in wals.items():
            self._observe_wal(shard, view, now)
        least = self._settings.min_free_bytes
        for directory, free in free_bytes.items():
            self._gate(
                (DISK, directory),
                close=free < least,
                reopen=free >= least * 1.25,
                reason=f"the disk of {directory} has {free} bytes left, less than TAEL_MIN_FREE_BYTES={least}",
            )

    def _observe_wal(self, shard: int, view: WalView, now: float) -> None:
        settings = self._settings
        age = self._ages.setdefault(shard, Ages()).observe(view.last, view.committed, now)
        self.lag_seconds[shard] = age
        full = view.size_bytes / view.max_bytes if view.max_bytes > 0 else 0.0
        self._gate(
            (WAL, f"{shard}"),
            close=full >= settings.wal_high_water,
            reopen=full <= settings.wal_high_water * 0.9,
            reason=f"the WAL of shard {shard} is {full:.0%} full (TAEL_WAL_HIGH_WATER={settings.wal_high_water:g}, TAEL_WAL_MAX_BYTES)",
        )
        self._gate(
            (LAG, f"{shard} seconds"),
            close=age > settings.max_lag_seconds,
            reopen=age <= settings.max_lag_seconds / 2,
            reason=f"the hot tier of shard {shard} is {age:.0f} s behind its WAL (TAEL_MAX_LAG_SECS={settings.max_lag_seconds:g})",
        )
        waiting, most = view.waiting_bytes, settings.max_lag_bytes
        self._gate(
            (LAG, f"{shard} bytes"),
            close=bool(most) and waiting > most,
            reopen=not most or waiting <= most / 2,
            reason=f"the hot tier of shard {shard} is {waiting} bytes behind its WAL (TAEL_MAX_LAG_BYTES={most})",
        )

    def _gate(self, key: tuple[str, str], *, close: bool, reopen: bool, reason: str) -> None:
        # Between the two marks the gate stays as it was.
        if close or (key in self._closed and not reopen):
            self._closed[key] = reason
        else:
            self._closed.pop(key, None)
