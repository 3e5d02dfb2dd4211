"""The live trace of the Admin API: a stream of server-sent events."""
