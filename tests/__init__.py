"""Tests, against real parts."""
