"""Syntax that the query languages share: positions and literals. Pure."""
