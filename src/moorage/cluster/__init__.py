"""The other nodes, and how this one reaches them."""
