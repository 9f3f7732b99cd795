"""Runs PromQL over the shards: engine, fetching, settings. The language itself is ``tael.promql``."""
