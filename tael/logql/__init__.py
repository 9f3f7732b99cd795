"""LogQL, Loki's query language: parse and print a tree, and evaluate it over rows of logs. Pure: no clock, no storage."""
