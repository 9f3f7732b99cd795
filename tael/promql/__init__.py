"""PromQL as a pure library: parse an expression, decide what data it needs, evaluate it. ``services/query/promql`` fetches the data."""
