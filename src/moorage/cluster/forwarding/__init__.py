"""Clients whose app server is linked to another node."""
