"""What `moorage bench` costs, and how much load one of its processes can make."""
