"""The questions that any surface may ask: functions of a tenant and parameters, without a transport.

Each is an async context manager: parameters are refused before the query waits for its turn, and the turn is held while the block uses the
answer, so that rendering counts as part of the query.
"""
