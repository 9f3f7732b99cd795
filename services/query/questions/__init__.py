"""Queries that several APIs share: functions of a tenant and parameters, without a transport.

Most are async context managers. Wrong parameters are refused before the query waits for its turn; the turn is held while the block uses the
answer, so that rendering counts as part of the query.
"""
