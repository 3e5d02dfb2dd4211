"""Random input against every decoder. A target is a way to make input and a way to take it in; what must
come out is a value or `PeerError` (for the configuration `ConfigError`), whatever went in."""
