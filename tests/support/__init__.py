"""What several test modules share: real processes to talk to."""
