"""What receivers take of metrics, made into Prometheus series: names, labels, identities, samples, and the bodies that the log carries."""
