"""Receivers, admission, and the writer from the WAL to the hot tier."""
