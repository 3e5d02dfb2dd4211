"""The recoverable sockets of one hub at one node, and what they may have missed."""
