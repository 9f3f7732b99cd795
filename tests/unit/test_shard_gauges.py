"""A process shows the gauges of the shards that it holds, and of no others."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from tael.runtime.shard_gauges import ShardGauges


def shown(registry: CollectorRegistry) -> set[tuple[str, str]]:
    """Name and shard of each series."""
    return {(sample.name, sample.labels["shard"]) for metric in registry.collect() for sample in metric.samples}


def test_gauges_of_a_lost_shard_are_removed() -> None:
    """Every series of the shard; also those that work which began under the lease sets afterwards."""
    registry = CollectorRegistry()
    paused, aside = Gauge("paused", "", ["shard"], registry=registry), Gauge("aside", "", ["shard", "work"], registry=registry)
    gauges = ShardGauges((paused, aside))
    gauges.keep({0: 5, 1: 6})
    for shard in ("0", "1"):
        paused.labels(shard).set(1)
        aside.labels(shard, "roll").set(3)
        aside.labels(shard, "merge").set(1)
    gauges.keep({0: 5, 1: 6})
    assert shown(registry) == {("paused", "0"), ("aside", "0"), ("paused", "1"), ("aside", "1")}
    gauges.keep({1: 6})
    assert shown(registry) == {("paused", "1"), ("aside", "1")}
    paused.labels("0").set(1)
    gauges.keep({1: 6})
    assert shown(registry) == {("paused", "1"), ("aside", "1")}


def test_gauges_of_another_epoch_are_removed() -> None:
    """What failed under the old one is not remembered under the new one, so nothing would set it back to 0."""
    registry = CollectorRegistry()
    aside = Gauge("aside", "", ["shard", "work"], registry=registry)
    gauges = ShardGauges((aside,))
    gauges.keep({0: 5})
    aside.labels("0", "roll").set(3)
    gauges.keep({0: 9})
    assert shown(registry) == set()
    aside.labels("0", "roll").set(1)
    gauges.keep({0: 9})
    assert shown(registry) == {("aside", "0")}
