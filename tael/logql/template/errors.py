"""Errors in a template or its data, with the messages of Go's ``text/template``."""

from __future__ import annotations


class TemplateError(Exception):
    """An error with the whole message for ``__error_details__``, or for the answer to a query that cannot be parsed."""


class CallError(Exception):
    """A function cannot handle its arguments; the executor adds the position."""
