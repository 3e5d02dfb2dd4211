"""What operators ask about nodes, and the answers."""
