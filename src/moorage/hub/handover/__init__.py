"""Clients that move from one app server to another while they stay connected."""
