"""The parts of a node that operators use: the Admin API with its history, and the live trace."""
