"""The way to the service: addresses, tokens, refusals, and the session that outlives a lost link."""
