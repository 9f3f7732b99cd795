"""Translates Zipkin's spans to OTLP, pure."""
