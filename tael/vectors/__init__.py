"""The algebra of instant vectors and range windows, one matrix of series by steps: no query language's, used by all of them. Pure."""
