"""The client port's HTTP side: the listener, the first bytes, requests and WebSocket upgrades."""
