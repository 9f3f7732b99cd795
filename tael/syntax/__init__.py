"""What the texts of the query languages have in common: positions and literals. Pure."""
