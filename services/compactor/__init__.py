"""Retention, and the roll from hot to cold: one lease a shard."""
