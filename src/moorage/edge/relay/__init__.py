"""Requests that belong to another node: they are handed over to the node that their session id names."""
