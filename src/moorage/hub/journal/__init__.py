"""What a node writes down of its recoverable sockets, so that they survive its loss."""
