"""Runs LogQL over the shards: the engine, its reads of lines and counts, and its settings. The language itself is ``tael.logql``."""
