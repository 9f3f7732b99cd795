"""Live feeds: spans and log records as they are appended to the WAL."""
