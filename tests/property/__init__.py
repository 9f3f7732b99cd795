"""Round trips and invariants, by Hypothesis."""
