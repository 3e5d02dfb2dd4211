"""What the clients do. Each scenario is a listener of its clients; `SCENARIOS` in `choice` has them by
name."""
