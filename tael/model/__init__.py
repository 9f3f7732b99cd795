"""Pure values that every room speaks of: attributes, spans, time ranges. No I/O, no wire formats."""
