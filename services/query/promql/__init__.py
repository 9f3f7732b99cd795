"""Runs PromQL over the shards: the engine, what it fetches, its settings. The language itself is ``tael.promql``."""
