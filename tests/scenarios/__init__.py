"""Scenarios: real nodes, NATS servers, app servers and stock clients under load, while something fails."""
