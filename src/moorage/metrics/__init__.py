"""Counters and their Prometheus format."""
