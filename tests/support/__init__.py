"""Fixtures that start real servers."""
