"""What TLS, its relay between workers, and compression cost."""
