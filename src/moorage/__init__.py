"""Moorage: a self-hosted Socket.IO service."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (pip asks before it installs; a path does not)
    raise ImportError(f"Moorage needs Python 3.11 or newer; this is Python {sys.version.split()[0]}")

__version__ = "0.1.0"
