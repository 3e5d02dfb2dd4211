"""TCP connections of the client port before their first byte of HTTP: PROXY headers and TLS."""
