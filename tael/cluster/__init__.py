"""Coordination of the processes: shard map, leases and epochs as pure values, and the key-value port that stores them."""
