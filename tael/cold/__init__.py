"""The cold tier, pure: its files, the manifest that names them, and how an hour moves into it from the hot tier (docs/adr/0014)."""
