"""The writer behind the receivers: from a shard's write-ahead log to its hot tier."""
