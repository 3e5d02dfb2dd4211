"""One node as a process: its parts, its start and its stop."""
