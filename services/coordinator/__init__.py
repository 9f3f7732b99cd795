"""The coordinator: migrations, membership, the shard map and the leases; one leader, any number of standbys."""
