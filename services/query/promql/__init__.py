"""PromQL: parse, needs, evaluate. Pure; what touches a shard is in services/query/promql_engine."""
