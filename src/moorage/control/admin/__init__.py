"""The Admin API: keys and sessions, questions about the whole cluster, actions, and their audit log."""
