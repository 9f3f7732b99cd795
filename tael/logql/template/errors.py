"""What is wrong with a template, or with what it was given, in the words of Go's ``text/template``."""

from __future__ import annotations


class TemplateError(Exception):
    """The whole message, as it goes into ``__error_details__`` or into the answer to a query that cannot be parsed."""


class CallError(Exception):
    """A function cannot take its arguments; what executes the template adds where."""
