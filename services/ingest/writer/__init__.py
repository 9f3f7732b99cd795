"""The writer: moves a shard's WAL to its hot tier."""
