"""The whole suite as processes, and its faults."""
