"""The stateless query service: all APIs that answer queries."""
