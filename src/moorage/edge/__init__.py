"""Sockets: the only layer that knows the WebSocket and HTTP libraries of the client port."""
