"""The receivers: one file for each protocol."""
