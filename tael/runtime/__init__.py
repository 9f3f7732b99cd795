"""What every process needs to run: settings, lifecycle, HTTP, logs and metrics."""
