"""Who gets what: connections, groups, selection, delivery. Synchronous, no awaits."""
