"""The error of the benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement of one target failed, with the reason. Other measurements continue."""
