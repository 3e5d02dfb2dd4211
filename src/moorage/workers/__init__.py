"""Several nodes on one machine: a supervisor, its worker processes, and their private NATS server."""
