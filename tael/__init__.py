"""The library that tael's services share: values, wire formats, ports and their adapters."""

__version__ = "0.1.0"
