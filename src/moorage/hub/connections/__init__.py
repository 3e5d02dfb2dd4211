"""The clients on this node: their lives, heartbeats and turns to send, and the way into their outboxes."""
