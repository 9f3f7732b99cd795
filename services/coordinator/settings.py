"""The settings of the coordinator."""

from __future__ import annotations

from tael.runtime.settings import ClickHouseSettings, NatsSettings, NodeSettings, ShardSettings, WalSettings


class CoordinatorSettings(NodeSettings, NatsSettings, WalSettings, ShardSettings, ClickHouseSettings):
    """Settings of the coordinator."""
