"""Connection state recovery: clients that lose their connections, and the cost while none does."""
