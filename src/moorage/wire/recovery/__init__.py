"""What connection state recovery puts into packets."""
