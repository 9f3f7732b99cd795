"""The stateless query tier: every API out."""
