"""The broker on NATS servers."""
