"""Who does what: shard map, leases and epochs as pure values, and the key-value port that keeps them."""
