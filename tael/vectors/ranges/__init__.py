"""Functions over range windows."""
