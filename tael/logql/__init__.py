"""LogQL, Loki's language: text to a tree, a tree to text, and what it evaluates to over rows of logs. Pure: no clock, no storage."""
