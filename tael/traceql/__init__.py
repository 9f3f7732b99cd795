"""TraceQL, Grafana Tempo's query language for traces, as a pure library: parse, check, decide what data is needed, evaluate.

Source: Tempo's TraceQL documentation and grammar, and the answers of Tempo 3.0. Where Tempo compares numbers of different types as never
equal, tael compares their values: an attribute sent as 3.0 is found by ``= 3``.
"""
