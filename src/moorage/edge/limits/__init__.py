"""Who may connect, and how fast clients may connect and send: lists of networks, and token buckets."""
