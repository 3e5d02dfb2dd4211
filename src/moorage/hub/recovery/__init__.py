"""Connection state recovery: what the hub keeps of sockets that may come back, and of what they miss."""
