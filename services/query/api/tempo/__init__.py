"""Tempo's HTTP API."""
