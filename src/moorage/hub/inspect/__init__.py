"""What an operator may see of this node: rows of clients, rooms and app servers, made in bounded steps."""
