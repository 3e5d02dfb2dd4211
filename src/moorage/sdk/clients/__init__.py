"""The clients of this app server: who they are, what is known about them, and their packets."""
