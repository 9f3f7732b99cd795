"""A small shop and an LLM agent that send real OpenTelemetry traffic: ``python -m examples.demo``."""
