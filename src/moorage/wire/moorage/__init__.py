"""Formats of `moorage.v1`, the dialect of our own SDKs."""
