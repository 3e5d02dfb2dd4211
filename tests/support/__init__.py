"""Helpers that several test modules share, mainly real processes."""
