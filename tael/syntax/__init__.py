"""What the query languages share in their syntax: positions and literals. Pure."""
