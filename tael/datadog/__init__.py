"""Translates the protocol of Datadog's trace agent to OTLP, pure: bodies to spans, spans to an export request."""
