"""Translates requests of Loki's push API to OTLP logs, pure."""
