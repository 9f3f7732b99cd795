"""Conversion between OTLP on the wire and the model, pure: scanning and splitting without decoding, decoding, encoding, JSON."""
