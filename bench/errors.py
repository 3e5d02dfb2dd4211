"""The one error of the benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """This measurement of this target has no result, and why. Others go on."""
