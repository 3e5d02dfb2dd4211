"""What a trace watches, and what it shows."""
