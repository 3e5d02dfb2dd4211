"""What is asked of the node: the choice of recipients, the delivery, and the answers that are gathered."""
