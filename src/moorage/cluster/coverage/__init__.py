"""Which nodes an app server covers, and what its home forwards to the others."""
