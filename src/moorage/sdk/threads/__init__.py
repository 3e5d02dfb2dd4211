"""The SDK for threads: only code that waits."""
