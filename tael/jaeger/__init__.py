"""Translates Jaeger's batches to OTLP, pure."""
