"""Measurements; results with commands in RESULTS.md."""
