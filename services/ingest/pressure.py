"""Decides when ingest refuses all requests to protect what is behind it, and when it accepts them again. Pure: takes observations and the
time.

There are three causes: a WAL that is nearly full, a WAL whose writer is far behind (the hot tier is unreachable, or merges too slowly and
answers TOO_MANY_PARTS), and a disk that is nearly full. Each gate closes at one threshold and reopens at a clearly better one, so that it
does not flap. It reopens by itself once the cause is gone.
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
    """A shard's WAL now: its sequences and sizes, and the last sequence committed to the hot tier."""

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
        """The approximate size of these entries, assuming that all entries are equally large."""
        held = self.last - self.first + 1
        # JetStream reports only a stream's total size. Committed entries are trimmed within seconds, so the mean is accurate enough for a
        # gate.
        return self.size_bytes * min(held, self.waiting_entries) // held if held > 0 else 0


class Pressure:
    """Fed with observations every second or so; ``reasons`` says why requests are refused, and is empty when they are accepted."""

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._ages: dict[int, Ages] = {}
        self._closed: dict[tuple[str, str], str] = {}
        self.lag_seconds: dict[int, float] = {}

    @property
    def reasons(self) -> list[str]:
        """One sentence for each cause, for the operator to act on."""
        return list(self._closed.values())

    def closed(self, cause: str) -> bool:
        """Whether requests are refused for this cause now."""
        return any(key[0] == cause for key in self._closed)

    def observe(self, wals: Mapping[int, WalView], free_bytes: Mapping[str, int], now: float) -> None:
        """Decide anew. ``now`` is monotonic seconds; the last decision stands for a shard or directory that is not given."""
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
        # Between the two thresholds the gate keeps its state.
        if close or (key in self._closed and not reopen):
            self._closed[key] = reason
        else:
            self._closed.pop(key, None)
