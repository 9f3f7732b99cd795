"""Pure value types that all packages share: attributes, spans, log records, series, time ranges. No I/O, no wire formats."""
