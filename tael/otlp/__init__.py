"""OTLP on the wire to the model and back, pure: scan and split without decoding, decode, encode, JSON."""
