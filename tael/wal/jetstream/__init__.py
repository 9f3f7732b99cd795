"""The WAL on JetStream: one stream a shard (docs/formats.md). Progress is kept in the writer's lease (docs/adr/0001), not here."""
