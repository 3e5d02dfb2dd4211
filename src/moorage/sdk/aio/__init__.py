"""The SDK for asyncio: only code that waits."""
