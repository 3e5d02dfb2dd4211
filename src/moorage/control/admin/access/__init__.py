"""Who may use the Admin API: keys, sessions, and the limit on wrong keys."""
