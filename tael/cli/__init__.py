"""The tael command."""
