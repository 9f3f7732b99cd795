"""Translates received metrics to Prometheus series: names, labels, ids, samples, and the bodies appended to the WAL."""
