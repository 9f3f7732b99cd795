"""One battery a port or protocol, run by every adapter."""
