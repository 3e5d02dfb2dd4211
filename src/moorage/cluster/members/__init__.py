"""Which other nodes there are."""
