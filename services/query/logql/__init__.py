"""Runs LogQL over the shards: the engine, how it reads lines and counts, its settings. The language itself is ``tael.logql``."""
