"""Moorage: a self-hosted Socket.IO service."""

__version__ = "0.1.0"
