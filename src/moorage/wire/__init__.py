"""Bytes <-> values. Pure: no asyncio, no socket, no clock."""
