"""Live traces: what passes this node for chosen clients. Costs nothing while nobody watches."""
