"""Numbered messages between nodes: once, in order, or with a reported gap."""
