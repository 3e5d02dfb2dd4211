"""Traces of the whole cluster."""
