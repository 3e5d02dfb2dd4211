"""Clients: admission, long-polling and WebSocket."""
