"""What recovery puts into packets, what it writes down, and what nodes tell each other about it."""
