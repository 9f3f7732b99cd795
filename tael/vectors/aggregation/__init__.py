"""Aggregation over groups of series."""
