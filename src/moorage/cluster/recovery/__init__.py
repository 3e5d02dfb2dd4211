"""Recovery of sockets whose node is another one."""
