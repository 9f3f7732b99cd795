"""PromQL as a pure library: parse, decide what an expression needs, evaluate it. Fetching from shards is ``services/query/promql``."""
