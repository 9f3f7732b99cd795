"""The questions that APIs have in common: functions of a tenant and parameters, without a transport.

Each is an async context manager. Wrong parameters are refused before the query waits for its turn; the turn is held while the block uses the
answer, so that rendering counts as part of the query.
"""
