"""The query APIs, one folder each."""
