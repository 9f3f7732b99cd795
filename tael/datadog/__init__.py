"""Datadog's trace agent protocol to OTLP, pure: bodies to spans, spans to an export request."""
