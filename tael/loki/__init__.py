"""Loki's push API to OTLP logs, pure."""
