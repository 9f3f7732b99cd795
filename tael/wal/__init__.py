"""The write-ahead log: the port, the record codec, and its JetStream adapter."""
