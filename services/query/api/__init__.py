"""The APIs out, a folder each."""
