"""What the nodes of a cluster send each other."""
