"""What the cold tier holds, pure: its files, the manifest that names them, and how an hour gets from the hot tier into it (docs/adr/0014)."""
