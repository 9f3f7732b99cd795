"""Receivers, admission, and the writer from the log to the hot tier."""
