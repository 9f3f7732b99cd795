"""The WAL on JetStream: one stream for each WAL (docs/formats.md). Progress is recorded in the writer's lease (docs/adr/0001), not here."""
